"""Training a segmentation model of PaddleSeg: whole checkpoints, exact resume, history and curves.

The model, the pictures, the losses and the optimizer are PaddleSeg's. The loop is not: PaddleSeg's own cannot save
whole checkpoints, and a run that it resumes sees other batches than one that was never stopped.
"""

import importlib
import sys

import paddle

from ...errors import UserError
from ...training import loop
from .batches import SeededDataset, sampler
from .data import check_dataset
from .evaluation import score

# Operators whose precision PaddleSeg sets apart in automatic mixed precision.
_FP16_TOO, _FP32_ONLY = ("elementwise_add", "batch_norm", "sync_batch_norm"), ("bilinear_interp_v2",)


def train(job, resume=None, evaluate=False, amp=False, vdl=False, seed=None, overwrite=False):
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives what it would have given had it not been stopped.

    Args:
        job: from `segmentation.config.load`.
        resume (str | None): "auto" goes on from the last whole checkpoint of the folder, or starts when there is none;
            a path names the checkpoint. Default None: start anew.
        evaluate (bool): evaluate after every snapshot, and keep the best as best_model.
        amp (bool): automatic mixed precision, on a GPU.
        vdl (bool): log to VisualDL, into save_dir/NAME/vdl.
        seed (int | None): of the weights, the augmentation and the network's own randomness, 0 to 2^32 - 1. Default
            None: the checkpoint's when resuming, else any.
        overwrite (bool): delete an earlier run's checkpoints in the folder instead of refusing to start.

    Returns:
        Path of the folder.

    Raises:
        UserError: data that cannot be trained on; a checkpoint that is missing, half written or of another network; a
            folder that holds another run or cannot be written to; a loss that is not finite; another process of the
            run that is gone.
    """

    def check():
        return [note for part in ("train", "val")[: 1 + evaluate] for note in check_dataset(job, part)]

    if amp and paddle.get_device() == "cpu":
        amp = False
        print("note: mixed precision is used on a GPU only; this trains in float32", file=sys.stderr)
    return loop.train(lambda seed: Run(job, seed, evaluate, amp), job.folder, resume, vdl, seed, overwrite, check)


class Run(loop.Run):
    """The training run of a segmentation job.

    Args:
        job: from `segmentation.config.load`.
        seed (int): see `train`.
        evaluates (bool): evaluate after every snapshot.
        amp (bool): automatic mixed precision.
    """

    best_score = "mIoU"

    def __init__(self, job, seed, evaluates, amp):
        self.amp = amp
        super().__init__(job, seed, job.config.batch_size, evaluates)

    def open_data(self):
        """PaddleSeg's data set, in its order."""
        self.dataset = SeededDataset(self.job.builder.train_dataset, self.seed)
        self.sampler = sampler(self.dataset, self.batch_size)

    def build(self):
        """The model and all that trains it are PaddleSeg's."""
        builder = self.job.builder
        self.iters, self.save_interval = self.job.config.iters, self.job.save_interval
        self.model, self.optimizer, self.losses = builder.model, builder.optimizer, builder.loss
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if self.amp else None

    def start(self, checkpoint, about, vdl):
        """See `loop.Run`."""
        super().start(checkpoint, about, vdl)
        if self.ranks > 1 and paddle.get_device() != "cpu":
            self.model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if self.job.dic.get("to_static_training"):
            self.model = paddle.jit.to_static(self.model)

    def precision(self):
        """PaddleSeg's mixed precision."""
        if not self.amp:
            return super().precision()
        return paddle.amp.auto_cast(level="O1", custom_white_list=set(_FP16_TOO), custom_black_list=set(_FP32_ONLY))

    def losses_of(self, data):
        """The loss of every output of the model, a list of Tensors."""
        outputs = self.model(data["img"])
        if hasattr(self.model, "loss_computation"):
            return self.model.loss_computation(outputs, self.losses, data)
        if len(outputs) != len(self.losses["types"]):
            raise UserError(
                f"{self.job.path}: the model has {len(outputs)} outputs in training, and loss has "
                f"{len(self.losses['types'])}; give loss.coef a number for each output"
            )
        labels = data["label"].astype("int64")
        edges = data["edge"].astype("int64") if "edge" in data else None
        # looked up at every step, so that a repaired one is used; `paddleseg.core.train` is the function of that name
        compute = importlib.import_module("paddleseg.core.train").loss_computation
        return compute(logits_list=outputs, labels=labels, edges=edges, losses=self.losses)

    def score(self):
        """mIoU and accuracy on val_dataset."""
        result = score(self.model, self.job)
        return {"mIoU": float(result["mIoU"]), "accuracy": float(result["accuracy"])}
