"""What a user of segmentation_models expects of an encoder: the image first, then maps of strides 2 to 32."""

import numpy as np
import pytest

import densebone as db


def test_six_maps_the_image_first(name, images):
    count = min(5, len(db.model_info(name)["strides"]))
    net = db.create_backbone(name, out_indices=range(count), include_image=True)
    net.eval()
    x = images()
    maps = net(x)
    assert net.strides == [1, 2, 4, 8, 16, 32][: count + 1] and net.channels[0] == 3
    assert len(maps) == count + 1 and np.array_equal(maps[0].numpy(), x.numpy())
    for map_, channels, stride in zip(maps, net.channels, net.strides):
        assert map_.shape == [2, channels, 64 // stride, 64 // stride]
    with pytest.raises(db.UserError, match="include_image is for the maps of a backbone"):
        db.create_model(name, include_image=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_images_of_any_number_of_channels(name, channels, images):
    net = db.create_backbone(name, in_channels=channels, include_image=True)
    net.eval()
    assert net.channels[0] == channels and net(images(channels=channels))[0].shape[1] == channels


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_encoders_of_less_depth_have_fewer_weights(depth):
    whole = db.create_backbone("hardnet39ds", out_indices=range(5), include_image=True)
    net = db.create_backbone("hardnet39ds", out_indices=range(depth), include_image=True)
    assert net.channels == whole.channels[: depth + 1]
    assert (set(net.state_dict()) < set(whole.state_dict())) == (depth < 5)


@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_encoders(name, stride, images):
    net = db.create_backbone(name, output_stride=stride)
    net.eval()
    assert max(64 // m.shape[2] for m in net(images())) == stride == max(net.strides)
