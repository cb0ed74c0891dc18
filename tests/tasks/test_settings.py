"""The options of a run: what they allow, and the one line about what they do not."""

import pytest

from densebone import UserError
from densebone.tasks.settings import Settings, device_override, in_strides, read_settings, use_device


def test_given_settings():
    assert not read_settings()
    given = read_settings("50", "4", "1e-3", ["320", "640"])
    assert given and given == Settings(50, 4, 0.001, (320, 640))
    assert read_settings(imgsz=["96"]) == Settings(imgsz=(96,))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1.5", "", "ten", "9" * 5000])
@pytest.mark.parametrize("name", ["epochs", "batch"])
def test_whole_numbers(name, text):
    with pytest.raises(UserError, match=rf"^--{name} is '{text[:5]}.*; a whole number of at least 1 is expected$"):
        read_settings(**{name: text})


@pytest.mark.parametrize("text", ["0", "-0.1", "nan", "inf", "fast"])
def test_learning_rates(text):
    with pytest.raises(UserError, match=rf"^--lr is '{text}'; a number above 0 is expected, such as 0.01$"):
        read_settings(lr=text)


@pytest.mark.parametrize("texts", [["0"], ["100"], ["-32"], ["64", "65"], ["64", "64", "64"], ["nan"], ["6.4e1"]])
def test_sizes(texts):
    with pytest.raises(
        UserError, match=r"^--imgsz is .*; one side or HEIGHT WIDTH in pixels is expected, multiples of 32"
    ):
        read_settings(imgsz=texts)


def test_lengths_in_strides():
    assert [in_strides(pixels) for pixels in (1, 47, 48, 100, 640)] == [32, 32, 64, 96, 640]


def test_devices(monkeypatch):
    import paddle

    assert device_override(None) == [] and device_override("cpu") == ["use_gpu=false"]
    for wrong in ("tpu", "gpu:", "gpu:x", "cpu:0", "GPU", "gpu:-1"):
        with pytest.raises(UserError, match=rf"^--device is '{wrong}'; cpu, gpu or gpu:N, such as gpu:0, is expected$"):
            device_override(wrong)
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    with pytest.raises(
        UserError, match=r"^--device is gpu:0, and Paddle sees no GPU; give cpu, or install a GPU build"
    ):
        device_override("gpu:0")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(paddle, "set_device", chosen.append)
    assert device_override("gpu") == device_override("gpu:1") == ["use_gpu=true"]
    for device in (None, "cpu", "gpu", "gpu:1"):
        use_device(device)
    assert chosen == ["gpu:1"]  # the configuration sets the others
    with pytest.raises(UserError, match=r"^--device is gpu:2, and Paddle sees 2 GPUs; give gpu:0 to gpu:1$"):
        device_override("gpu:2")
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    assert device_override("gpu") == ["use_gpu=true"]
    with pytest.raises(UserError, match=r"^--device is gpu:1, and each of several processes has a GPU of its own"):
        device_override("gpu:1")
