"""PaddleSeg's configuration and builder, made from checked settings, without its printing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from paddleseg.cvlibs import Config, SegBuilder, manager

from ...errors import UserError
from .weights import note_what_is_left, toolkit_weights

# Constructors of these only take their arguments, so what they refuse is a mistake in the configuration.
_SIMPLE = (manager.TRANSFORMS, manager.DATASETS, manager.LOSSES, manager.OPTIMIZERS)
# What they and PaddleSeg's networks raise when arguments do not fit.
_REFUSALS = (ValueError, TypeError, AssertionError, IndexError, OSError, RuntimeError)


class Settings(Config):
    """PaddleSeg's `Config`, made from a dict in place of a file. Its rules check and complete the dict.

    Raises:
        UserError: a rule of PaddleSeg refuses the settings.
    """

    def __init__(self, dic: dict[str, Any]):
        self.dic = dic
        try:
            self._build_default_checker().apply_all_rules(self)
        except RuntimeError as error:
            raise UserError(" ".join(str(error.__context__ or error).split())) from error


class Builder(SegBuilder):
    """PaddleSeg's `SegBuilder`, whose `model`, `loss`, `optimizer`, ... are built when they are first asked for.

    A mistake in the configuration becomes a `UserError` of one line, whether a component of densebone raises it or a
    transform, data set, loss, optimizer or network of PaddleSeg refuses a value. PaddleSeg itself would raise a
    RuntimeError of three lines.

    The `pretrained` weights of PaddleSeg's own networks are read safely before PaddleSeg unpickles them. A note says
    which tensors keep their initial values, because PaddleSeg skips tensors of other names and shapes.
    """

    def build_component(self, cfg: Mapping[str, Any]) -> Any:
        """Builds the object that a block with `type` describes, and those inside it."""
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
        """Raises UserError when a head takes maps, by setting or by default, that its backbone does not return."""
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
    def lr_scheduler(self) -> Any:
        """Paddle's learning rate scheduler."""
        try:
            return super().lr_scheduler
        except RuntimeError as error:
            raise UserError(f"lr_scheduler: {' '.join(str(error.__context__ or error).split())}") from error

    @classmethod
    def show_msg(cls, name: str, cfg: Mapping[str, Any]) -> None:
        """Prints nothing. PaddleSeg would print every block that it builds."""
