"""Which names are those of pictures and videos."""

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts",
    ".m2ts", ".3gp", ".ogv",
)  # fmt: skip

# Folders that systems and archives leave beside the user's own.
_OF_SYSTEMS = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


def is_hidden(name: str) -> bool:
    """Whether a file or folder with this name (no path) is hidden, as `._a.jpg` and `__MACOSX` of macOS are."""
    return name.startswith(".") or name in _OF_SYSTEMS


def is_picture_name(name: str) -> bool:
    """Whether a search takes a file with this name (no path): it has one of `EXTENSIONS` and is not hidden."""
    return not is_hidden(name) and name.lower().endswith(EXTENSIONS)


def is_video_name(name: str) -> bool:
    """Whether a search for videos takes a file with this name (no path)."""
    return not is_hidden(name) and name.lower().endswith(VIDEOS)
