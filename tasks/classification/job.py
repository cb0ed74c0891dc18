"""What a classification configuration describes, block by block."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from ...pictures.preparing import Preprocessing
from ...weights import catalog
from ...weights.identify import entry_of
from .. import task
from .schema import setting


@dataclass(kw_only=True)
class Model:
    """The block `model`.

    Attributes:
        name: one of `densebone list`.
        num_classes: outputs.
        pretrained: weights to start training from, as `create_model` takes them.
        options: further arguments of `create_model`, such as form.
    """

    name: str = setting("text")
    num_classes: int = setting("whole", 1000, least=1)
    pretrained: object = setting("any", None)
    options: Mapping = setting("block", {})


@dataclass(kw_only=True)
class _Decaying:
    weight_decay: float = setting("number", 0.0, least=0)
    # parameters without weight decay: "norm", those of batch norms; "bias", the biases of all other layers
    no_weight_decay: tuple = setting("texts", (), choices=("norm", "bias"))


@dataclass(kw_only=True)
class Momentum(_Decaying):
    """SGD with momentum."""

    momentum: float = setting("number", 0.9, least=0, most=1)
    nesterov: bool = setting("flag", False)


@dataclass(kw_only=True)
class SGD(_Decaying):
    """Plain stochastic gradient descent."""


@dataclass(kw_only=True)
class Adam(_Decaying):
    """Adam; weight_decay is added to the gradient."""

    beta1: float = setting("number", 0.9, least=0, most=1)
    beta2: float = setting("number", 0.999, least=0, most=1)
    epsilon: float = setting("number", 1e-8, least=0)


@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay."""


OPTIMIZERS = {cls.__name__: cls for cls in (Momentum, SGD, Adam, AdamW)}


@dataclass(kw_only=True)
class Constant:
    """A constant learning rate after a warm-up of `warmup_epochs`; set every iteration.

    The warm-up rises from `warmup_start_lr` ("linear") or stays there ("constant").
    """

    learning_rate: float = setting("number", least=0)
    warmup: str = setting("text", "linear", choices=("linear", "constant"))
    warmup_epochs: float = setting("number", 0, least=0)
    warmup_start_lr: float = setting("number", 0.0, least=0)


@dataclass(kw_only=True)
class Cosine(Constant):
    """Half a cosine from `learning_rate` to `end_lr` over the epochs after the warm-up."""

    end_lr: float = setting("number", 0.0, least=0)


@dataclass(kw_only=True)
class Step(Constant):
    """The learning rate is multiplied by `gamma` at each of the `milestones`, in epochs from the start of training."""

    milestones: tuple = setting("numbers", least=0)
    gamma: float = setting("number", 0.1, least=0)


SCHEDULERS = {cls.__name__: cls for cls in (Constant, Cosine, Step)}


@dataclass(kw_only=True)
class Job(task.Job):
    """What a classification configuration describes.

    Attributes:
        path: the file.
        dic: its settings with those of its bases, overrides applied.
        model, optimizer, lr_scheduler: the checked blocks.
        train_dataset, val_dataset: one of `layouts.DATASETS` each, or None where the configuration has none.
        transforms: the training transforms in order, of `transforms.TRANSFORMS`, from train_dataset.transforms.
        given_preprocessing: the keys of `Preprocessing` that the configuration sets itself.
        class_names: a list of names, or a file with one in each line; None takes the data set's.
        batch_size: pictures of a process in a forward pass.
        accumulate: forward passes in a step of the optimizer.
        epochs: of the whole training.
        ema: decay of the averaged weights; None averages none.
        label_smoothing: share of the label that is spread over all classes.
        mixup, cutmix: alpha of their beta distributions; 0 switches them off.
        lasso: weight of the group lasso of a learned CondenseNetV2; 0 switches it off.
        clip_norm: largest norm of the gradient of all parameters together; None does not clip.
        amp: mixed precision on a GPU: "O0" (float32), "O1" or "O2".
        amp_dtype: "float16", "bfloat16", or "auto", which takes bfloat16 where the GPU has it.
        sync_bn: batch norms over all processes.
        log_iters: iterations between two lines of the history.
        save_interval: epochs between two snapshots.
        keep_checkpoints: how many snapshots are kept; 0 keeps all.
        num_workers: processes that read pictures; 0 reads them in this one, null takes what suits the machine.
        save_dir: results go to save_dir/NAME.
        use_gpu: None takes a GPU when there is one.
        checked: what `data.open_set` found, by part.
    """

    task: ClassVar[str] = "classification"
    path: Path
    dic: dict
    model: Model
    optimizer: Any
    lr_scheduler: Any
    train_dataset: Any
    val_dataset: Any
    transforms: list
    given_preprocessing: dict
    class_names: object = setting("any", None)
    batch_size: int = setting("whole", 32, least=1)
    accumulate: int = setting("whole", 1, least=1)
    epochs: int = setting("whole", least=1)
    ema: float | None = setting("number", None, least=0, most=1)
    label_smoothing: float = setting("number", 0.0, least=0, most=1)
    mixup: float = setting("number", 0.0, least=0)
    cutmix: float = setting("number", 0.0, least=0)
    lasso: float = setting("number", 0.0, least=0)
    clip_norm: float | None = setting("number", None, least=1e-9)
    amp: str = setting("text", "O0", choices=("O0", "O1", "O2"))
    amp_dtype: str = setting("text", "auto", choices=("auto", "float16", "bfloat16"))
    sync_bn: bool = setting("flag", False)
    log_iters: int = setting("whole", 10, least=1)
    save_interval: float = setting("number", 1, least=1e-6)
    keep_checkpoints: int = setting("whole", 5, least=0)
    num_workers: int = setting("whole", None, least=0)
    save_dir: str = setting("text", "output")
    use_gpu: bool | None = setting("flag", None)
    checked: dict = field(default_factory=dict)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Outputs of the model."""
        return self.model.num_classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are prepared for the weights that training starts from; see `preprocessing_for`."""
        entry = entry_of(self.model.pretrained, self.model.name)
        return self.preprocessing_for(entry.preprocessing if entry else None)

    def preprocessing_for(self, own: Preprocessing | None) -> Preprocessing:
        """How pictures are prepared: as the weights need it, with the configuration's own keys replaced.

        Args:
            own: of the weights. None takes that of the model's default weights, or HarDNet-68's where those were not
                trained for classification.
        """
        for name in (self.model.name, "hardnet68"):
            own = own or catalog.default_for(name).preprocessing
        assert own is not None  # HarDNet-68's
        return replace(own, **self.given_preprocessing)
