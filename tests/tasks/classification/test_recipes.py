"""Every shipped configuration builds what it trains, and says where it is from."""

import re

import pytest

from densebone import create_model
from densebone.backbones.pruning import learned_convs
from densebone.scripts.options import shipped_configs
from densebone.tasks.classification import config
from densebone.tasks.classification.optimizers import build_optimizer
from densebone.tasks.classification.schedules import Schedule, rate_at
from densebone.tasks.configuration import with_bases

SHIPPED = {path.stem: path for path in shipped_configs().values() if path.parent.name == "classification"}
# name: pictures an iteration, epochs, first, highest and last learning rate
RECIPES = {
    "hardnet39ds_150e_imagenet": (256, 150, 0.05, 0.05, 0),
    "hardnet68ds_150e_imagenet": (256, 150, 0.05, 0.05, 0),
    "hardnet68_150e_imagenet": (256, 150, 0.05, 0.05, 0),
    "hardnet85_150e_imagenet": (256, 150, 0.05, 0.05, 0),
    "peleenet_120e_imagenet": (512, 120, 0.18, 0.18, 0),
    "peleenet_20e_finetune_imagenet": (512, 20, 5e-3, 5e-3, 0),
    "condensenetv2a_350e_imagenet": (1024, 350, 0.1, 0.4, 1e-5),
    "condensenetv2b_350e_imagenet": (1024, 350, 0.1, 0.4, 1e-5),
    "condensenetv2c_350e_imagenet": (1024, 350, 0.1, 0.4, 1e-5),
    "hardnet68_10e_finetune_cifar100": (64, 10, 1e-3, 1e-3, 1e-3),
    "condensenetv2a_300e_cifar10": (64, 300, 0.1, 0.1, 0),
    "condensenetv2a_300e_cifar100": (64, 300, 0.1, 0.1, 0),
    "smoke_hardnet39ds_sample": (20, 8, 0.005, 0.05, 0),
    "smoke_peleenet_sample": (20, 8, 0.005, 0.05, 0),
    "smoke_condensenetv2a_sample": (20, 12, 0.005, 0.05, 0),
}
SOURCE = re.compile(r"arXiv \d{4}\.\d{5}|a published notebook|found on this data")


def test_none_is_missing():
    assert set(RECIPES) == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_builds_and_names_its_source(name):
    job = config.load(SHIPPED[name], ["use_gpu=false", "model.pretrained=null"])
    comments = "\n".join(file.read_text(encoding="utf-8") for file, _ in with_bases(SHIPPED[name]))
    assert SOURCE.search(comments)
    model = create_model(job.model.name, num_classes=job.num_classes, **job.model.options)
    is_condensenet = job.model.name.startswith("condensenetv2")
    assert bool(learned_convs(model)) is is_condensenet
    schedule = Schedule(job.lr_scheduler, per_epoch=100, iters=100 * job.epochs)
    optimizer = build_optimizer(job.optimizer, schedule, model, job.clip_norm)
    assert type(optimizer).__name__ == ("Adam" if "finetune_cifar" in name else "Momentum")
    highest = max(rate_at(job.lr_scheduler, 100 * epoch, 100, 100 * job.epochs) for epoch in range(job.epochs))
    last = rate_at(job.lr_scheduler, 100 * job.epochs, 100, 100 * job.epochs)
    found = (job.batch_size * job.accumulate, job.epochs, optimizer.get_lr(), highest, last)
    assert found == pytest.approx(RECIPES[name], abs=1e-12)
    assert job.val_dataset is not None and job.transforms
