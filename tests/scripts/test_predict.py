"""densebone predict on videos, in tiles, and into annotation formats; killed, and gone on with."""

import contextlib
import http.server
import io
import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install densebone[video]")
pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")
import by_hand
import clips
from PIL import Image

from densebone.datasets import inspection, own
from densebone.pictures import reading, video
from densebone.scripts import main
from densebone.tasks import extras

TABLES = "predict", "--engine", "onnxruntime", "--model"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    by_hand.square_detector(folder / "squares")
    by_hand.brightest_channel(folder / "pixels")
    return folder


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def square(number):
    """[left, top, width, height] of the square that `clips.frame` draws."""
    return [4 + number % 66, 20, 24, 24]


def scene(size=(900, 700), seed=0, name="red"):
    """(picture, box [left, top, width, height]) of one object."""
    random = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    left, top, width, height = (
        int(v) for v in (*random.integers(0, [size[0] - 90, size[1] - 90]), *random.integers(30, 90, 2))
    )
    image[top : top + height, left : left + width] = (230, 10, 10) if name == "red" else (10, 10, 230)
    return Image.fromarray(image), [left, top, width, height]


def test_a_video_gets_a_row_for_each_frame_and_is_drawn(models, tmp_path, capsys):
    clips.write(tmp_path / "clip.mp4", 60, 20)
    times = clips.vary(tmp_path / "clip.mp4", [1 + number % 3 for number in range(60)])
    assert main([*TABLES, str(models / "squares"), str(tmp_path / "clip.mp4"), "-O", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "clip.mp4: 60 frames, " in printed.out and "60 boxes; drawn in" in printed.out
    assert "have no steady rate" in printed.err
    rows = lines(tmp_path / "out" / "clip.jsonl")
    assert [row["frame"] for row in rows] == list(range(60))
    assert [row["time"] for row in rows] == pytest.approx(times, abs=2e-3)
    assert {(row["width"], row["height"], row["file_name"]) for row in rows} == {(96, 64, str(tmp_path / "clip.mp4"))}
    for row in rows:
        red = next(one for one in row["boxes"] if one["category"] == "red")
        assert red["score"] == 0.9 and red["category_id"] == 1
        assert red["bbox"] == pytest.approx(square(row["frame"]), abs=2.5)
    with video.Video(tmp_path / "out" / "clip.mp4") as drawn:
        frames = list(drawn.frames())
    assert [clips.number_of(frame.image) for frame in frames] == list(range(60))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.jsonl", "clip.mp4"]
    assert main([*TABLES, str(models / "squares"), str(tmp_path / "clip.mp4"), "-O", str(tmp_path / "some"), "--json",
                 "--every", "7", "--no-draw"]) == 0  # fmt: skip
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [row for row in rows if row["frame"] % 7 == 0]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["clip.jsonl"]


def test_pixels_of_a_video(models, tmp_path):
    clips.write(tmp_path / "clip.avi", 12, code="MJPG")
    assert main([*TABLES, str(models / "pixels"), str(tmp_path / "clip.avi"), "-O", str(tmp_path / "out")]) == 0
    rows = lines(tmp_path / "out" / "clip.jsonl")
    for row in rows:
        left, top, width, height = square(row["frame"])
        labels = np.asarray(Image.open(tmp_path / "out" / "labels" / "clip" / f"{row['frame']:08}.png"))
        assert labels.shape == (64, 96) and (labels[top + 2 : top + height - 2, left + 2 : left + width - 2] == 0).all()
        assert row["classes"]["r"] == pytest.approx((labels == 0).mean(), abs=1e-6)
    shape = video.first_frame(tmp_path / "out" / "clip.mp4").shape
    assert shape[1] >= 96 and shape[0] > 64  # the legend is below


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(models, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(12):
        scene((400, 300), number)[0].save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    clips.write(tmp_path / "in" / "a.mp4", 250)
    clips.write(tmp_path / "in" / "sub" / "b.mp4", 430)
    command = [sys.executable, "-m", "densebone.scripts", *TABLES, str(models / "squares"), str(tmp_path / "in"),
               "--threads", "1", "-O"]  # fmt: skip
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True)
    assert whole.returncode == 1 and "1 pictures or videos skipped" in whole.stdout
    out, notes = tmp_path / "out", []
    for file, least in (("predictions.json.part", 3), ("a.jsonl.part", 20), ("sub/b.jsonl.part", 230)):
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (
            not (out / file).is_file() or (out / file).read_bytes().count(b"\n#") < least
        ):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        notes.append(process.communicate()[1])
    done = subprocess.run([*command, str(out)], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == whole.stdout.replace(str(tmp_path / "whole"), str(out))
    assert "12 pictures were done before" in done.stderr and "250 frames of" in done.stderr
    assert "pictures were done before" in notes[1]
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()
    )
    for name in files:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_went_wrong_with_a_video_is_a_line_and_the_rest_is_kept(models, tmp_path, capsys):
    cut = clips.write(tmp_path / "cut.avi", 60, code="MJPG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    clips.write(tmp_path / "good.mp4", 5)
    given = [str(tmp_path / name) for name in ("cut.avi", "empty.mp4", "good.mp4")]
    assert main([*TABLES, str(models / "squares"), *given, "camera:98", "-O", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "cut.avi: ends after frame" in printed and "empty.mp4: is empty; fetch it again" in printed
    assert "skipped camera:98: there is no such camera" in printed and "3 pictures or videos skipped" in printed
    assert len(lines(tmp_path / "out" / "good.jsonl")) == 5 and 20 < len(lines(tmp_path / "out" / "cut.jsonl")) < 40
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.jsonl", "good.mp4", "cut.jsonl", "cut.mp4"}
    assert main([*TABLES, str(models / "squares"), given[1], "-O", str(tmp_path / "none")]) == 2
    assert "none of the 1 pictures can be read" in capsys.readouterr().err


def test_large_pictures_in_tiles(models, tmp_path):
    size = (1500, 1100)
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    image[380:560, 300:700] = 230, 10, 10  # over a corner of four tiles
    image[900:1050, 1200:1450] = 10, 10, 230
    Image.fromarray(image).save(tmp_path / "large.png")
    expected = {"red": [300, 380, 400, 180], "blue": [1200, 900, 250, 150]}
    for tile in (["400"], ["320", "500", "--overlap", "0.4"]):
        arguments = [str(models / "squares"), str(tmp_path / "large.png"), "-O", str(tmp_path / "out"), "-t", "0.5"]
        assert main([*TABLES, *arguments, "--tile", *tile]) == 0
        rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert {row["category"]: row["bbox"] for row in rows if row["score"] > 0} == expected
        assert sum(row["score"] > 0 for row in rows) == 2
    image = np.asarray(Image.effect_noise(size, 90).convert("RGB").rotate(90, expand=True).resize(size))
    image = np.stack([image[..., 0], np.roll(image[..., 0], 7, 0), np.roll(image[..., 0], 9, 1)], -1)
    Image.fromarray(image).save(tmp_path / "large.png")
    for folder, more in (("whole", []), ("tiles", ["--tile", "400"])):
        assert (
            main([*TABLES, str(models / "pixels"), str(tmp_path / "large.png"), "-O", str(tmp_path / folder), *more])
            == 0
        )
    whole, tiles = (np.asarray(Image.open(tmp_path / name / "labels" / "large.png")) for name in ("whole", "tiles"))
    assert (whole == tiles).all() and len(np.unique(whole)) == 3


@pytest.fixture
def many(tmp_path):
    """Pictures of several folders, some of one name, and a video."""
    known = {}
    for number, name in enumerate(
        [
            "a/x.png",
            "b/x.png",
            "a/images/x.png",
            "a/x.jpg",
            "c d/my picture.v2.png",
            "A.png",
            "li\ne.png",
            "b\udce9.png",
        ]
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture, box = scene((300, 200), number, "red" if number % 2 else "blue")
        picture.save(path, **({"quality": 98, "subsampling": 0} if name.endswith("jpg") else {}))
        known[path.resolve()] = ("red" if number % 2 else "blue", box)
    Image.new("RGB", (64, 48)).save(tmp_path / "in" / "nothing.png")
    clips.write(tmp_path / "in" / "clip.mp4", 30)
    return tmp_path / "in", known


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "labelme"])
def test_boxes_become_annotations_that_are_read_again(models, many, tmp_path, form):
    folder, known = many
    out = tmp_path / "out"
    arguments = [
        str(models / "squares"),
        str(folder),
        "-O",
        str(out),
        "--save-as",
        form,
        "--save-crops",
        "--every",
        "10",
    ]
    assert main([*TABLES, *arguments, "--no-draw"]) == 0
    data = own.open_data(out / form, division=own.Division(val=0.0, test=0.0))
    assert data.source.format == form and sorted(data.classes) == ["blue", "red"]
    found = {}
    for content in data.parts.values():
        for index in range(len(content)):
            picture = content.pictures[content.picture[index]]
            found.setdefault(picture.path.resolve(), []).append(
                (data.classes[content.label[index]], content.boxes[index])
            )
    for path, (name, box) in known.items():
        ((label, left),) = found[path]
        assert label == name and left == pytest.approx(box, abs=1.5 if path.suffix == ".jpg" else 1e-3)
    frames = sorted((out / "clip_frames").iterdir())
    assert [frame.name for frame in frames] == ["00000000.jpg", "00000010.jpg", "00000020.jpg"]
    for number, frame in zip((0, 10, 20), frames):
        assert dict(found[frame.resolve()])["red"] == pytest.approx(square(number), abs=2.5)
    assert len(list((out / form).rglob("*.[pj][np]g"))) == 12  # the one without a box too
    _, faults = inspection.inspect(out / form)
    assert not [fault for fault in faults if fault.level == "stops"]
    crops = [path.relative_to(out / "crops").as_posix() for path in (out / "crops").rglob("*.jpg")]
    assert {"blue/a/x.png-1.jpg", "red/b/x-1.jpg", "blue/a/images/x-1.jpg", "red/clip/00000010-1.jpg"} <= {*crops}
    *_, width, height = known[(folder / "b" / "x.png").resolve()][1]
    crop = np.asarray(Image.open(out / "crops" / "red" / "b" / "x-1.jpg"))
    assert crop.shape == (height, width, 3) and crop[height // 2, width // 2, 0] > 200


def test_a_class_that_is_called_as_a_path_stays_below_the_output(tmp_path):
    model = by_hand.square_detector(tmp_path / "model", ("../../red", "/blue"))
    scene()[0].save(tmp_path / "a.png")
    out = tmp_path / "deep" / "er" / "out"
    assert (
        main([*TABLES, str(model), str(tmp_path / "a.png"), "-O", str(out), "--save-crops", "--save-as", "yolo"]) == 0
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "deep", "model"]
    assert [path.parent.parent.name for path in out.rglob("*-1.jpg")] == ["crops"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--overlap", "0.2"], "--overlap is of tiles; add --tile N"),
        (["--tile", "1", "2", "3"], "--tile has 3 numbers; give one side, or WIDTH HEIGHT"),
        (["--tile", "16"], "tile is 16 x 16 pixels, too small for a network"),
        (["--tile", "640", "--overlap", "1"], "overlap is 1.0; give a share"),
        (
            ["--save-as", "yolo"],
            "--save-as is of boxes, and this model is for segmentation; labels/ holds label pictures",
        ),
    ],
)
def test_options_that_do_not_fit(models, tmp_path, capsys, more, words):
    scene()[0].save(tmp_path / "a.png")
    assert main([*TABLES, str(models / "pixels"), str(tmp_path / "a.png"), "-O", str(tmp_path / "out"), *more]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_with_tiles_a_picture_may_be_as_large_as_memory_holds(models, tmp_path, capsys, monkeypatch):
    """The limits, made small."""
    picture, box = scene((900, 700))
    picture.save(tmp_path / "large.png")
    monkeypatch.setattr(reading, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    arguments = [*TABLES, str(models / "squares"), str(tmp_path / "large.png"), "-O", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "large.png: is too large, at most 0 million pixels; make it smaller" in capsys.readouterr().err
    assert main([*arguments, "--tile", "320", "--save-as", "yolo"]) == 0
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["bbox"] for row in rows if row["score"] > 0] == [box]
    assert Image.MAX_IMAGE_PIXELS == 50_000
    monkeypatch.setattr(extras, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(extras, "free_bytes", lambda: 24 * 600_000)
    assert main([*arguments, "--tile", "320"]) == 2
    assert "900 x 700 pixels is too large, at most 0.6 million; make it smaller" in capsys.readouterr().err


class _Camera(http.server.BaseHTTPRequestHandler):
    """A camera of the network that sends JPEGs until nobody listens."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in itertools.count():
                stream = io.BytesIO()
                Image.fromarray(clips.frame(number)).save(stream, "jpeg", quality=95)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(stream.getvalue())}\r\n\r\n"
                self.wfile.write(head.encode() + stream.getvalue() + b"\r\n")
                time.sleep(0.002)

    def log_message(self, *_):
        pass


def heed_interrupts():
    """What a child calls first: a shell that runs the tests in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_camera_ends_with_ctrl_c_and_after_a_kill_what_it_gave_is_completed(models, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://me:secret@127.0.0.1:{server.server_port}/stream.mjpg"
    command = [
        sys.executable,
        "-m",
        "densebone.scripts",
        *TABLES,
        str(models / "squares"),
        address,
        "-O",
        str(tmp_path),
    ]
    killed: list[str] = []
    for end in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
        )
        parts = []
        while process.poll() is None and not any(
            part.read_bytes().count(b"\n#") > 220 for part in parts if part.exists()
        ):
            parts = [part for part in tmp_path.glob("*.part") if part.name not in killed]
            time.sleep(0.01)
        killed = [part.name for part in parts]
        process.send_signal(end)
        printed, notes = process.communicate(timeout=60)
        assert "secret" not in printed + notes
        time.sleep(1.01)  # the next one has another second in its name
    server.shutdown()
    assert process.returncode == 0 and "is complete; an earlier run was ended before it was" in notes
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl", ".jsonl", ".mp4", ".mp4"]
    for file in tmp_path.glob("*.jsonl"):
        assert file.name.startswith("http-127-0-0-1-") and "secret" not in file.read_text()
        rows = lines(file)
        assert [row["frame"] for row in rows] == list(range(len(rows))) and len(rows) > 220
        with video.Video(file.with_suffix(".mp4")) as drawn:
            assert len(list(drawn.frames())) in (200, len(rows))
