"""Each repair of paddleseg 2.8.0 agrees with an independent computation; without it, the error is back."""

import importlib

import numpy as np
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import paddle
import paddleseg
from paddleseg.core import train
from paddleseg.models import losses

from densebone.integrations.compat import paddleseg as compat

if getattr(paddleseg, "__version__", None) != "2.8.0":
    pytest.skip("this is not paddleseg 2.8.0: nothing of it is repaired", allow_module_level=True)

CLASSES, IGNORED = 4, 255
WEIGHT = [1.0, 3.0, 0.5, 2.0]


@pytest.fixture(autouse=True)
def repaired():
    compat.apply()
    yield
    compat.apply()  # for the tests of other files


def names_in_force():
    return [repair.name for repair in compat.in_force()]


def scene(ignored=True):
    """Logits (2, 4, 6, 8) and labels (2, 6, 8), whose first row may be ignored."""
    rng = np.random.RandomState(0)
    logits, labels = rng.randn(2, CLASSES, 6, 8), rng.randint(0, CLASSES, (2, 6, 8))
    if ignored:
        labels[:, 0] = IGNORED
    return logits.astype("float32"), labels


def loss_and_gradient(criterion, logits, labels, **more):
    """The loss and its gradient by the logits. A list of losses is summed first."""
    logits = paddle.to_tensor(logits, stop_gradient=False)
    loss = criterion(logits, paddle.to_tensor(labels), **more)
    loss = sum(loss) if isinstance(loss, list) else loss
    loss.backward()
    return float(loss), logits.grad.numpy()


def slopes(function, x, step=1e-5):
    """(indices, values): central differences of `function` at every 13th entry of x."""
    indices, values = [np.unravel_index(i, x.shape) for i in range(0, x.size, 13)], []
    for index in indices:
        both = []
        for sign in (1, -1):
            moved = x.astype("float64")
            moved[index] += sign * step
            both.append(function(moved))
        values.append((both[0] - both[1]) / (2 * step))
    return indices, np.array(values)


def assert_is(found, function, logits):
    """Asserts that `found`, a loss and its gradient, agree with the NumPy `function` of the logits."""
    loss, gradient = found
    assert np.isclose(loss, function(logits.astype("float64")), rtol=1e-5)
    indices, expected = slopes(function, logits)
    assert np.abs(expected).max() > 1e-4
    assert np.allclose([gradient[i] for i in indices], expected, atol=1e-5)


def class_probabilities(logits, labels):
    """softmax (N, C, H, W) and the probability of each pixel's own class (N, H, W), 2 where ignored."""
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponent / exponent.sum(axis=1, keepdims=True)
    own = np.take_along_axis(probabilities, np.where(labels == IGNORED, 0, labels)[:, None], axis=1)[:, 0]
    return probabilities, np.where(labels == IGNORED, 2, own)


def mean_cross_entropy(labels, logits, weight=None, top_k=1.0, non_ignored=True, pixel_weights=1.0):
    _, own = class_probabilities(logits, labels)
    counts = labels != IGNORED
    class_weight = np.array(weight or [1.0] * CLASSES)[np.where(counts, labels, 0)]
    loss = np.where(counts, -np.log(own), 0) * class_weight * pixel_weights
    if top_k < 1:
        largest = np.argsort(-loss.ravel(), kind="stable")[: int(top_k * loss.size)]
        return loss.ravel()[largest].sum() / class_weight.ravel()[largest].sum()
    return loss.sum() / (class_weight * counts if non_ignored else class_weight).sum()


def mean_hard_cross_entropy(labels, logits, limit, min_kept):
    _, own = class_probabilities(logits, labels)
    counts = labels != IGNORED
    if 0 < min_kept < counts.sum():
        counts &= own < max(limit, np.sort(own, axis=None)[min_kept - 1])
    return -np.log(own[counts]).mean()


def dice(labels, logits, smooth=1.0):
    probabilities, _ = class_probabilities(logits, labels)
    total = 0
    for c in range(CLASSES):
        for p, y in zip(probabilities[:, c], labels):
            p, y = p[y != IGNORED], y[y != IGNORED] == c
            total += 1 - (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)
    return total / CLASSES / len(labels)


def bootstrapped(min_k=10):
    return losses.BootstrappedCrossEntropyLoss(min_K=min_k, loss_th=0.3)


@pytest.mark.parametrize("top_k", [1.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_cross_entropy(weight, top_k):
    logits, labels = scene()
    criterion = losses.CrossEntropyLoss(weight=weight, top_k_percent_pixels=top_k)
    found = loss_and_gradient(criterion, logits, labels)
    assert_is(found, lambda x: mean_cross_entropy(labels, x, weight, top_k), logits)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_cross_entropy_with_a_factor_for_each_pixel(weight):
    logits, labels = scene()
    factors = np.random.RandomState(1).rand(*labels.shape).astype("float32")
    criterion = losses.CrossEntropyLoss(weight=weight)
    found = loss_and_gradient(criterion, logits, labels, semantic_weights=paddle.to_tensor(factors))
    assert_is(found, lambda x: mean_cross_entropy(labels, x, weight, pixel_weights=factors), logits)


@pytest.mark.parametrize(("weight", "ignored"), [(None, True), (WEIGHT, False)], ids=["ignored pixels", "weighted"])
def test_cross_entropy_over_all_pixels(weight, ignored):
    logits, labels = scene(ignored)
    found = loss_and_gradient(losses.CrossEntropyLoss(weight=weight, avg_non_ignore=False), logits, labels)
    assert_is(found, lambda x: mean_cross_entropy(labels, x, weight, non_ignored=False), logits)


def test_cross_entropy_where_all_is_ignored():
    logits, labels = scene()
    loss, gradient = loss_and_gradient(losses.CrossEntropyLoss(weight=WEIGHT), logits, np.full_like(labels, IGNORED))
    assert loss == 0 and not gradient.any()


def test_distillation_uses_the_same_average():
    logits, labels = scene()
    teacher = np.where(np.arange(CLASSES)[:, None, None] == labels[:, None], 50, 0).astype("float32")
    criterion = losses.DistillCrossEntropyLoss()
    found = loss_and_gradient(lambda x, y: criterion(x, paddle.to_tensor(teacher), y), logits, labels)
    assert_is(found, lambda x: mean_cross_entropy(labels, x), logits)  # a sure teacher is a label


@pytest.mark.parametrize(
    ("limit", "min_kept"),
    [(0.3, 10), (0.01, 10), (0.3, 0), (0.3, 10000)],
    ids=["the limit decides", "the number decides", "no number", "fewer pixels than that"],
)
def test_ohem_cross_entropy(limit, min_kept):
    logits, labels = scene()
    criterion = losses.OhemCrossEntropyLoss(thresh=limit, min_kept=min_kept)
    criterion.EPS = 0
    found = loss_and_gradient(criterion, logits, labels)
    assert_is(found, lambda x: mean_hard_cross_entropy(labels, x, limit, min_kept), logits)
    assert np.isclose(loss_and_gradient(criterion, logits, labels[:, None])[0], found[0])


def test_ohem_where_all_is_ignored():
    logits, labels = scene()
    criterion = losses.OhemCrossEntropyLoss(min_kept=10)
    loss, gradient = loss_and_gradient(criterion, logits, np.full_like(labels, IGNORED))
    assert loss == 0 and not gradient.any()


@pytest.mark.parametrize("dice_first", [False, True])
def test_dice_beside_cross_entropy(dice_first):
    logits, labels = scene()
    parts = [losses.DiceLoss(), losses.CrossEntropyLoss()]
    mixed = losses.MixedLoss(parts if dice_first else parts[::-1], [1.0, 1.0])
    found = loss_and_gradient(mixed, logits, labels)
    assert_is(found, lambda x: dice(labels, x) + mean_cross_entropy(labels, x), logits)


def test_dice_leaves_the_labels_alone():
    logits, labels = scene()
    given = paddle.to_tensor(labels)
    losses.DiceLoss()(paddle.to_tensor(logits), given)
    assert (given.numpy() == labels).all()


def count(pred, label, **more):
    calculate = importlib.import_module("paddleseg.utils.metrics").calculate_area
    return [area.numpy() for area in calculate(paddle.to_tensor(pred), paddle.to_tensor(label), CLASSES, **more)]


@pytest.mark.parametrize("ignored", [IGNORED, 1], ids=["255", "a class"])
@pytest.mark.parametrize("planes", [False, True], ids=["NHW", "N1HW"])
def test_areas(planes, ignored):
    rng = np.random.RandomState(0)
    pred, label = rng.randint(0, CLASSES, (2, 6, 8)).astype("int32"), scene()[1]
    given = [x[:, None] for x in (pred, label)] if planes else [pred, label]
    counts = label != ignored
    expected = [
        [np.sum((pred == c) & (label == c) & counts) for c in range(CLASSES)],
        [np.sum((pred == c) & counts) for c in range(CLASSES)],
        [np.sum(label == c) for c in range(CLASSES)],
    ]
    found = count(*given, ignore_index=ignored)
    assert np.array(found).tolist() == np.array(expected).tolist()
    assert {area.dtype.name for area in found} == {"int64"}


def test_areas_of_two_sizes():
    with pytest.raises(ValueError, match="shape"):
        count(np.zeros((1, 6, 8), "int32"), np.zeros((1, 6, 7), "int64"))


class Pixelwise(paddle.nn.Layer):
    """The smallest network that PaddleSeg trains: one convolution, logits twice."""

    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, CLASSES, 1)

    def forward(self, x):
        return [self.conv(x), self.conv(x)]


class Scenes(paddle.io.Dataset):
    num_classes, ignore_index = CLASSES, IGNORED

    def __len__(self):
        return 4

    def __getitem__(self, index):
        image = np.random.RandomState(index).rand(3, 6, 8).astype("float32")
        return {"img": image, "label": scene()[1][0], "trans_info": [("resize", (6, 8))]}


def train_a_little(folder):
    """Runs three iterations of PaddleSeg's trainer, which logs each one."""
    model = Pixelwise()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    mixed = losses.MixedLoss([bootstrapped(), losses.LovaszSoftmaxLoss()], [0.5, 0.5])
    types = {"types": [bootstrapped(), mixed], "coef": [1, 0.4]}
    options = {"iters": 3, "batch_size": 2, "save_interval": 3, "log_iters": 1, "losses": types}
    train(model, Scenes(), optimizer=optimizer, save_dir=str(folder), **options)


def test_the_trainer_logs_its_losses(tmp_path):
    train_a_little(tmp_path)
    assert (tmp_path / "iter_3" / "model.pdparams").is_file()


def test_losses_keep_their_values_and_gradients():
    logits, labels = scene()
    mixed = losses.MixedLoss([bootstrapped(), bootstrapped(20)], [0.5, 2.0])
    module = importlib.import_module("paddleseg.core.train")
    given = paddle.to_tensor(logits, stop_gradient=False)
    types = {"types": [bootstrapped(), mixed], "coef": [1, 0.4]}
    found = module.loss_computation([given, given], paddle.to_tensor(labels), None, types)
    single, wider = (loss_and_gradient(bootstrapped(k), logits, labels) for k in (10, 20))
    assert [loss.shape for loss in found] == [[1]] * 3
    assert np.allclose([float(loss) for loss in found], [single[0], 0.2 * single[0], 0.8 * wider[0]])
    sum(found).backward()
    assert np.allclose(given.grad.numpy(), 1.2 * single[1] + 0.8 * wider[1], atol=1e-6)


# The errors without the repairs.


def evaluate_a_little(folder):
    evaluate = importlib.import_module("paddleseg.core.val").evaluate
    return evaluate(Pixelwise(), Scenes(), print_detail=False)


def test_an_evaluation_runs(tmp_path):
    assert 0 < evaluate_a_little(tmp_path)[0] < 1


PROBES = {
    "one_element_losses": (train_a_little, IndexError, "0-dimensional"),
    "cross_entropy": (
        lambda folder: loss_and_gradient(losses.CrossEntropyLoss(), *scene()), TypeError, "Type promotion",
    ),
    "ohem_cross_entropy": (
        lambda folder: loss_and_gradient(losses.OhemCrossEntropyLoss(min_kept=10), *scene()), TypeError, "Type promo",
    ),
    "dice_labels": (
        lambda folder: loss_and_gradient(losses.MixedLoss([bootstrapped(), losses.DiceLoss()], [1, 1]), *scene()),
        RuntimeError, "inplace",
    ),
    "areas": (evaluate_a_little, ValueError, "Expected axis >= -rank"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBES)
def test_without_the_repair_the_error_is_back(name, tmp_path):
    probe, error, text = PROBES[name]
    due = name in names_in_force()
    probe(tmp_path)
    compat.apply(skip=name)
    if due:
        with pytest.raises(error, match=text):
            probe(tmp_path)
    else:
        probe(tmp_path)
        assert compat.reason_against(name)


def test_the_table_holds_every_known_repair():
    assert list(compat.TABLE.repairs) == list(PROBES)
    for repair in compat.TABLE.repairs.values():
        assert repair.symptom and repair.why and repair.story
        assert repair.seam.startswith("paddleseg.")  # the toolkit is repaired, never Paddle


def test_another_version_of_the_toolkit_is_left_alone(monkeypatch):
    metrics = importlib.import_module("paddleseg.utils.metrics")
    compat.apply(skip=list(PROBES))
    monkeypatch.setattr(paddleseg, "__version__", "0.0.0.dev0")
    assert compat.apply() == []
    assert metrics.calculate_area.__module__ == "paddleseg.utils.metrics"
    assert "paddleseg is 0.0.0.dev0" in compat.reason_against("areas")
