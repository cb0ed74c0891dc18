"""PaddleSeg's configuration and builder, fed with settings of ours and quiet."""

from paddleseg.cvlibs import Config, SegBuilder, manager

from ..errors import UserError

# Components whose constructors do nothing but take their arguments: what they refuse is the user's to mend.
_SIMPLE = (manager.TRANSFORMS, manager.DATASETS, manager.OPTIMIZERS)


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
    set or an optimizer refuses. PaddleSeg would bury either in a RuntimeError of three lines.
    """

    def build_component(self, cfg):
        """The object that a block with `type` describes, and those in it."""
        try:
            return super().build_component(cfg)
        except RuntimeError as error:
            cause = error.__context__
            simple = any(cfg["type"] in family.components_dict for family in _SIMPLE)
            if simple and isinstance(cause, (ValueError, TypeError, AssertionError, OSError, RuntimeError)):
                raise UserError(f"{cfg['type']}: {' '.join(str(cause).split())}") from error
            while cause is not None:
                if isinstance(cause, UserError):
                    raise UserError(str(cause)) from error
                cause = cause.__cause__ or cause.__context__
            raise

    @classmethod
    def show_msg(cls, name, cfg):
        """PaddleSeg prints every block that it builds; the file has them."""
