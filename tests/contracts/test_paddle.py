"""Paddle's own habits, on one network of each family: summary, flops, Model, saving, static graphs, AMP, parallel."""

import numpy as np
import paddle
import pytest

import densebone as db


@pytest.fixture(params=["hardnet39ds", "peleenet", "condensenetv2_a"])
def name(request):
    """One network of each family."""
    return request.param


class Squares(paddle.io.Dataset):
    """Pictures whose label is their brighter half."""

    def __init__(self, count=8):
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 2, count)
        self.pictures = rng.standard_normal((count, 3, 64, 64)).astype("float32")
        for picture, label in zip(self.pictures, self.labels):
            picture[:, :, 32 * label : 32 * (label + 1)] += 3

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.pictures[index], self.labels[index]


def small(name, **options):
    paddle.seed(0)
    return db.create_model(name, num_classes=2, **options)


def test_summary(name, capsys):
    net = small(name)
    found = paddle.summary(net, (1, 3, 64, 64))
    assert found["total_params"] == sum(p.size for p in net.state_dict().values() if p.is_floating_point())
    assert found["trainable_params"] == sum(p.size for p in net.parameters() if not p.stop_gradient)
    assert "Conv2D" in capsys.readouterr().out


def test_flops(name):
    found = paddle.flops(small(name), [1, 3, 224, 224])
    assert found == pytest.approx(db.profile(small(name)).macs, rel=0.15), "Paddle counts multiply-adds"


def test_the_high_level_model(name, tmp_path):
    model = paddle.Model(small(name))
    model.prepare(
        paddle.optimizer.Adam(1e-3, parameters=model.parameters()),
        paddle.nn.CrossEntropyLoss(),
        paddle.metric.Accuracy(),
    )
    model.fit(Squares(), batch_size=4, epochs=2, verbose=0)
    scores = model.evaluate(Squares(), batch_size=4, verbose=0)
    assert 0 <= scores["acc"] <= 1 and np.isfinite(scores["loss"][0])
    (outputs,) = model.predict(Squares(), batch_size=4, verbose=0, stack_outputs=True)
    assert outputs.shape == (8, 2)
    model.save(str(tmp_path / "net"))
    again = small(name)
    again.set_state_dict(paddle.load(str(tmp_path / "net.pdparams")))
    again.eval()
    np.testing.assert_allclose(again(paddle.to_tensor(Squares().pictures)).numpy(), outputs, rtol=1e-4, atol=1e-5)


def test_saved_programs(name, tmp_path, images):
    net = small(name)
    net.eval()
    paddle.jit.save(net, str(tmp_path / "net"), [paddle.static.InputSpec([None, 3, None, None])])
    loaded = paddle.jit.load(str(tmp_path / "net"))
    for size in ((64, 64), (96, 128)):
        x = images(*size)
        expected = net(x).numpy()
        np.testing.assert_allclose(loaded(x).numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def losses(net, forward, steps=4):
    optimizer = paddle.optimizer.Momentum(0.01, parameters=net.parameters())
    pictures, labels = map(np.stack, zip(*(Squares()[i] for i in range(8))))
    found = []
    net.train()
    for _ in range(steps):
        loss = paddle.nn.functional.cross_entropy(forward(paddle.to_tensor(pictures)), paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        found.append(float(loss))
    return found


@pytest.mark.parametrize(
    "name", ["hardnet39ds", *(pytest.param(n, marks=pytest.mark.acceptance) for n in ("peleenet", "condensenetv2_a"))]
)
def test_training_in_a_static_graph(name):
    eager, static = small(name, drop_rate=0), small(name, drop_rate=0)
    for net in (eager, static):
        for layer in net.sublayers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0
    expected = losses(eager, eager)
    found = losses(static, paddle.jit.to_static(static))
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision(name, level, images):
    """On a CPU Paddle leaves it off and computes in float32; what is written for a GPU runs."""
    net = small(name)
    optimizer = paddle.optimizer.Momentum(0.01, parameters=net.parameters())
    if level == "O2":
        net, optimizer = paddle.amp.decorate(models=net, optimizers=optimizer, level="O2")
    scaler = paddle.amp.GradScaler(init_loss_scaling=1024)
    x = images()
    for _ in range(2):
        with paddle.amp.auto_cast(level=level):
            loss = net(x).astype("float32").square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
    assert np.isfinite(float(loss))
    net.eval()
    with paddle.amp.auto_cast(level=level):
        out = net(x)
    assert out.shape == [2, 2] and np.isfinite(out.astype("float32").numpy()).all()


def test_data_parallel(name):
    """One process; `paddle.distributed.launch` starts several."""
    plain, parallel = small(name), paddle.DataParallel(small(name))
    x = paddle.to_tensor(Squares().pictures)
    for net in (plain, parallel):
        net.eval()
    assert np.array_equal(plain(x).numpy(), parallel(x).numpy())
    assert parallel.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("whole", ["fchardnet70", "centernet_hardnet85"])
def test_whole_networks_have_the_names_that_make_sense(whole):
    net = db.create_model(whole, in_chans=4)
    assert net.in_channels == 4
    cfg = net.default_cfg
    assert cfg["architecture"] == whole and cfg["input_size"][0] == 4
    state = net.state_dict()
    assert f"{cfg['first_conv']}.weight" in state and f"{cfg['classifier']}.weight" in state
    net.set_grad_checkpointing()
    assert net.backbone.recompute is True
    groups = db.parameter_groups(net, lr_decay=0.5)
    assert len({group["learning_rate"] for group in groups}) > 4
    assert net.no_weight_decay()
    for wrong in ({"num_classes": 0}, {"features_only": True}):
        with pytest.raises(db.UserError):
            db.create_model(whole, **wrong)
