# The names of `import densebone`, for editors and type checkers. `__init__.py` loads them when they are first used.

from .backbones.condensing import condense as condense
from .backbones.freezing import freeze as freeze
from .backbones.freezing import unfreeze as unfreeze
from .backbones.groups import parameter_groups as parameter_groups
from .backbones.pruning import PruningProgress as PruningProgress
from .errors import UserError as UserError
from .features.extractor import FeatureExtractor as FeatureExtractor
from .profiling.costs import profile as profile
from .registry import create_backbone as create_backbone
from .registry import create_model as create_model
from .registry import is_model as is_model
from .registry import list_models as list_models
from .registry import model_info as model_info
from .weights.loader import LoadReport as LoadReport
from .weights.loader import load_weights as load_weights

__version__: str

def load_ipython_extension(shell: object) -> None: ...
