"""PaddleSeg's configuration and builder, fed with settings of ours and quiet."""

import inspect
from functools import cached_property

from paddleseg.cvlibs import Config, SegBuilder, manager

from ...errors import UserError
from .weights import note_what_is_left, toolkit_weights

# Components whose constructors do nothing but take their arguments: what they refuse is the user's to mend.
_SIMPLE = (manager.TRANSFORMS, manager.DATASETS, manager.LOSSES, manager.OPTIMIZERS)
# What these raise, and PaddleSeg's networks, when their arguments do not fit.
_REFUSALS = (ValueError, TypeError, AssertionError, IndexError, OSError, RuntimeError)


class Settings(Config):
    """PaddleSeg's `Config` of a dict in place of a file; its rules run and complete the dict.

    Raises:
        UserError: a rule of PaddleSeg refuses the settings.
    """

    def __init__(self, dic):
        self.dic = dic
        try:
            self._build_default_checker().apply_all_rules(self)
        except RuntimeError as error:
            raise UserError(" ".join(str(error.__context__ or error).split())) from error


class Builder(SegBuilder):
    """PaddleSeg's `SegBuilder`, whose `model`, `loss`, `optimizer`, ... are built when they are first asked for.

    What a user gets wrong reaches him in one line: a `UserError` of a component, and a value that a transform, a data
    set, a loss, an optimizer or a network of PaddleSeg's refuses. PaddleSeg would bury either in a RuntimeError of
    three lines.

    `pretrained` of PaddleSeg's own networks is read without running anything before PaddleSeg unpickles it, and what
    of the network it leaves as it starts is said: PaddleSeg passes over tensors of other names and shapes.
    """

    def build_component(self, cfg):
        """The object that a block with `type` describes, and those in it."""
        source, content = cfg.get("pretrained"), None
        if source is not None and self._is_network_of_toolkit(cfg["type"]):
            path, content = toolkit_weights(source, cfg["type"])
            cfg = {**cfg, "pretrained": str(path)}
        component = self._build(cfg)
        if cfg["type"] in manager.BACKBONES.components_dict:
            self._maps = len(getattr(component, "feat_channels", ()))
        if content is not None:
            note_what_is_left(component, content, source, cfg["type"])
        return component

    def _is_network_of_toolkit(self, kind):
        families = (manager.MODELS.components_dict, manager.BACKBONES.components_dict)
        found = next((family[kind] for family in families if kind in family), None)
        return found is not None and found.__module__.partition(".")[0] == "paddleseg"

    def _build(self, cfg):
        try:
            return super().build_component(cfg)
        except RuntimeError as error:
            cause = error.__context__
            if isinstance(cause, (AssertionError, IndexError)):
                self._check_backbone_indices(cfg, error)
            inner = cause
            while inner is not None:
                if isinstance(inner, UserError):
                    raise UserError(str(inner)) from error
                inner = inner.__cause__ or inner.__context__
            simple = any(cfg["type"] in family.components_dict for family in _SIMPLE)
            if isinstance(cause, _REFUSALS) and (simple or self._is_network_of_toolkit(cfg["type"])):
                raise UserError(f"{cfg['type']}: {' '.join(str(cause).split())}") from error
            raise

    def _check_backbone_indices(self, cfg, error):
        """UserError when a head was told, or has by default, to take maps that its backbone does not return."""
        parameter = inspect.signature(self.load_component_class(cfg["type"])).parameters.get("backbone_indices")
        if parameter is None or cfg.get("backbone") is None:
            return
        indices = list(cfg.get("backbone_indices", parameter.default))
        if max(indices) >= self._maps or min(indices) < -self._maps:
            raise UserError(
                f"{cfg['type']}: backbone_indices are {indices}, and {cfg['backbone']['type']} returns {self._maps} "
                f"maps, 0 to {self._maps - 1}; set backbone_indices of the model"
            ) from error

    @cached_property
    def lr_scheduler(self):
        """Paddle's scheduler of the learning rate."""
        try:
            return super().lr_scheduler
        except RuntimeError as error:
            raise UserError(f"lr_scheduler: {' '.join(str(error.__context__ or error).split())}") from error

    @classmethod
    def show_msg(cls, name, cfg):
        """PaddleSeg prints every block that it builds; the file has them."""
