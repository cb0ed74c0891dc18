"""Pictures in every form give the outputs of the eager network on prepared pictures."""

import drawn_pictures
import numpy as np
import paddle
import pytest
import tiny
from PIL import Image

from densebone import FeatureExtractor
from densebone.engines.opening import missing
from densebone.errors import UserError
from densebone.features.extractor import READERS
from densebone.pictures.preparing import prepare
from densebone.pictures.reading import read_image
from densebone.weights.catalog import find

IMAGENET = find("hardnet68.official").preprocessing
SMALL = {"engine": "eager", "preprocessing": IMAGENET, "size": (64, 96), "batch_size": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return drawn_pictures.draw(tmp_path_factory.mktemp("pictures"), 5)


@pytest.fixture(scope="module")
def network():
    net = tiny.build(out_indices=(1, 2, 4))
    net.eval()
    return net


def eager(network, inputs):
    with paddle.no_grad():
        return [out.numpy() for out in network(paddle.to_tensor(inputs))]


def close(found, expected):
    """Within 1e-4 standard deviations."""
    assert len(found) == len(expected)
    for have, want in zip(found, expected):
        assert have.dtype == np.float32 and have.shape == want.shape
        assert abs(have - want).max() <= 1e-4 * want.std()


def test_8_bits_are_calibrated_on_pictures(network, folder, tmp_path):
    pytest.importorskip("onnxruntime")
    if reason := missing().get("onnxruntime"):
        pytest.skip(reason)
    exact = FeatureExtractor(network, **SMALL)(folder)
    given = {**SMALL, "engine": "onnxruntime", "cache": tmp_path, "precision": "int8", "calibration": folder}
    with FeatureExtractor(network, **given) as fx:
        assert fx.engine.precision == fx.precision == "int8" and len(fx.calibration) == 16
        for found, want in zip(fx(folder), exact):
            assert 0 < np.sqrt(((found - want) ** 2).mean()) < 0.2 * want.std()
    with pytest.raises(UserError, match="8 bits and a folder of pictures to calibrate on go together"):
        FeatureExtractor(network, **{**given, "calibration": None})


def test_every_form_of_pictures(network, folder):
    fx = FeatureExtractor(network, **SMALL)
    files = sorted(folder.iterdir())
    arrays = [read_image(file) for file in files]
    maps = fx(folder)
    assert [m.shape for m in maps] == [(5, c, 64 // s, 96 // s) for c, s in zip(fx.channels, fx.strides)]
    (folder.parent / "list.txt").write_text("\n".join(str(file) for file in files))
    forms = [
        files, [str(file) for file in files], str(folder / "*.png"), folder.parent / "list.txt",
        arrays, np.stack(arrays), [Image.fromarray(array) for array in arrays],
        [str(files[0]), arrays[1], Image.open(files[2]), [files[3], files[4]]],
        np.stack([fx.prepare(array) for array in arrays]),
    ]  # fmt: skip
    for form in forms:
        close(fx(form), maps)
    close(fx(files[1]), [m[1:2] for m in maps])
    close(fx([files[1], files[1]]), [m[[1, 1]] for m in maps])  # a picture given twice returns twice


def test_crop_equals_the_eager_network_on_prepared_pictures(network, folder):
    fx = FeatureExtractor(network, engine="eager", preprocessing="hardnet68.official")
    assert fx.fixed_size == (224, 224)
    inputs = np.stack([prepare(read_image(file), IMAGENET) for file in sorted(folder.iterdir())])
    close(fx(folder), eager(network, inputs))


def test_a_list_in_another_order(network, folder):
    fx = FeatureExtractor(network, **SMALL)
    files = sorted(folder.iterdir())
    assert len(files) > READERS
    close(fx(files[::-1]), [m[::-1] for m in fx(files)])


def test_means(network, folder):
    fx = FeatureExtractor(network, pooled="avg", **SMALL)
    maps = FeatureExtractor(network, **SMALL)(folder)
    close([fx(folder)], [np.concatenate([m.mean((2, 3)) for m in maps], 1)])
    assert fx(folder).shape == (5, fx.vector_size) == (5, sum(network.channels))


def test_penultimate(folder):
    classifier = tiny.build()
    classifier.eval()
    fx = FeatureExtractor(classifier, pooled="penultimate", **SMALL)
    vectors = fx(folder)
    assert vectors.shape == (5, fx.vector_size) == (5, 14)
    inputs = np.stack([fx.prepare(file) for file in sorted(folder.iterdir())])
    (logits,) = eager(lambda x: [classifier(x)], inputs)
    last = classifier.base[-1][3]
    close([vectors @ last.weight.numpy() + last.bias.numpy()], [logits])


@pytest.mark.parametrize("pad", [False, True])
def test_native(network, pad):
    shapes = [(40, 50), (64, 64), (40, 50), (33, 70), (40, 50)]
    pictures = [np.random.default_rng(i).integers(0, 256, (*s, 3), dtype=np.uint8) for i, s in enumerate(shapes)]
    fx = FeatureExtractor(network, engine="eager", preprocessing=IMAGENET, size_mode="native", pad=pad, batch_size=2)
    found = fx(pictures)
    assert len(found) == 5 and fx.fixed_size is None
    for maps, picture in zip(found, pictures):
        inputs = fx.prepare(picture)
        assert inputs.shape[1] % 32 == 0 or not pad
        close(maps, [m[0] for m in eager(network, inputs[None])])
    assert FeatureExtractor(network, pooled="avg", **{**SMALL, "size": None, "size_mode": "native"})(pictures).ndim == 2


def test_the_fastest_engine_agrees(network, folder, tmp_path):
    with FeatureExtractor(network, threads=1, cache=tmp_path, **{**SMALL, "engine": "auto"}) as fx:
        close(fx(folder), FeatureExtractor(network, **SMALL)(folder))
        assert fx.engine.name in fx.description.lower().replace(" ", "")


def test_gray_palette_and_turned_pictures(network, folder, tmp_path):
    fx = FeatureExtractor(network, **SMALL)
    picture = Image.open(sorted(folder.iterdir())[0])
    gray = picture.convert("L")
    close(fx(gray), fx(np.repeat(np.asarray(gray)[..., None], 3, 2)))
    exif = Image.Exif()
    exif[274] = 3  # upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    close(fx(Image.open(tmp_path / "turned.png")), fx(np.asarray(picture)[::-1, ::-1]))
    close(fx(tmp_path / "turned.png"), fx(np.asarray(picture)[::-1, ::-1]))


def test_what_is_no_picture(network, tmp_path):
    fx = FeatureExtractor(network, **SMALL)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for given, message in (
        (tmp_path / "broken.jpg", "broken.jpg: is not a picture that Pillow can read"),
        (tmp_path / "none.jpg", "none.jpg does not exist; give pictures, folders, patterns"),
        ([], "no pictures were given"),
        (3, "a picture is given as int; give a path"),
        (np.zeros((64, 64), np.uint8), r"a picture is given as uint8 \(64, 64\); give a path"),
        (np.zeros((0, 64, 3), np.uint8), r"a picture is given as uint8 \(0, 64, 3\)"),
        (np.zeros((64, 64, 3), np.float32), r"prepared inputs, \(N, 3, H, W\), and this one has shape \(64, 64, 3\)"),
        (np.zeros((2, 1, 64, 64), np.float32), r"has shape \(2, 1, 64, 64\)"),
        (np.zeros((2, 3, 16, 64), np.float32), "inputs are 16 x 64; give 32 or more"),
    ):
        with pytest.raises(UserError, match=message):
            fx(given)
    native = FeatureExtractor(network, engine="eager", preprocessing=IMAGENET, size_mode="native")
    Image.new("RGB", (20, 90)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=r"small.png: 90 x 20 pixels .* is too small, at least 32 each side"):
        native(tmp_path / "small.png")


def test_pictures_need_a_preprocessing_and_arrays_do_not(network, folder):
    fx = FeatureExtractor(network, engine="eager")
    assert fx.preprocessing is None and fx.fixed_size is None
    with pytest.raises(UserError, match="how pictures are prepared for these weights is not known"):
        fx(folder)
    inputs = tiny.images((3, 3, 64, 64)).numpy()
    close(fx(inputs), eager(network, inputs))
    gray = FeatureExtractor(tiny.build(in_channels=1), engine="eager", preprocessing=IMAGENET)
    with pytest.raises(UserError, match="this network wants 1 channels, pictures have 3"):
        gray(folder)
    assert len(gray(np.zeros((1, 1, 64, 64), np.float32))) == 4


def test_options_that_cannot_be(network):
    for options, message in (
        ({"batch_size": 0}, "batch_size is 0"),
        ({"pad": True}, "pad is for size_mode 'native', and here it is 'crop'"),
        ({"engine": "tensorrt"}, "engine is 'tensorrt'"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"size_mode": "crop", "size": (64, 64)}, "which size_mode 'crop' does not take"),
    ):
        with pytest.raises(UserError, match=message):
            FeatureExtractor(network, **options)


def test_a_batch_in_each_thread_gives_the_same(network, folder, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    options = {**SMALL, "engine": "onnxruntime", "cache": tmp_path, "pooled": "avg"}
    pictures = sorted(folder.glob("*.png")) * 5
    with FeatureExtractor(network, **options) as one, FeatureExtractor(network, **options, throughput=True) as many:
        assert many.engine.streams == many.workers and one.engine.streams == 1
        np.testing.assert_allclose(many(pictures), one(pictures), atol=1e-5)


def test_reduced_decoding_is_close(network, tmp_path):
    from densebone.pictures.reading import read_picture

    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)).resize((800, 600))
    smooth.save(tmp_path / "a.jpg", quality=95)
    turned = smooth.getexif()
    turned[0x0112] = 6
    smooth.save(tmp_path / "turned.jpg", quality=95, exif=turned)
    assert read_picture(tmp_path / "a.jpg", least=(390, 100)).size == (400, 300)
    assert read_picture(tmp_path / "turned.jpg", least=(140, 190)).size == (150, 200)
    for name in ("a.jpg", "turned.jpg"):
        exact, reduced = (
            FeatureExtractor(network, **SMALL, reduced=flag).prepare(tmp_path / name) for flag in (False, True)
        )
        assert exact.shape == reduced.shape and 0 < np.abs(exact - reduced).mean() < 0.05
