"""Zip files unpacked whole or not at all, and never outside their folder."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from src.errors import UserError

_PIECE = 1 << 20  # bytes


def unpack_zip(
    archive: str | os.PathLike, directory: str | os.PathLike, *, progress: bool | None = None
) -> Path:
    """Unpack ``NAME.zip`` into the folder ``directory/NAME``.

    The zip may hold that folder itself or only what belongs into it. All names are checked before
    the first byte is written; everything is written to a temporary folder that takes the final
    name at the end. A folder of that name that is already there is replaced.

    Args:
        archive: the zip file.
        directory: folder to unpack in.
        progress: show a progress bar; None shows it on a terminal only.

    Returns:
        The new folder.

    Raises:
        UserError: the zip is damaged or encrypted, holds a path outside its folder, a link or
            a device, or does not fit on the disk.
    """
    archive, directory = Path(archive), Path(directory)
    target = directory / archive.stem
    temporary = directory / f".{archive.stem}.unpacking"
    try:
        with zipfile.ZipFile(archive) as content:
            members = _checked(content, archive)
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
            temporary.mkdir(parents=True)
            _check_space(sum(member.file_size for member, _ in members), archive, directory)
            inside = all(path.parts[0] == archive.stem for _, path in members)
            bar = tqdm(
                members,
                desc=f"unpacking {archive.name}",
                unit="file",
                disable=None if progress is None else not progress,
            )
            for member, path in bar:
                destination = temporary.joinpath(*path.parts[1 if inside else 0 :])
                destination.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, open(destination, "wb") as file:
                    shutil.copyfileobj(source, file, _PIECE)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(
            f"{archive} is damaged or not a zip file ({error}); delete it and download it again"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot unpack {archive} into {directory}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _checked(
    content: zipfile.ZipFile, archive: Path
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Files of a zip with their paths, after a look at every name."""
    members = []
    for member in content.infolist():
        # The name as stored: zipfile cuts it at a zero byte.
        name = member.orig_filename.replace("\\", "/")
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name
        kind = stat.S_IFMT(member.external_attr >> 16)
        if outside or not path.parts or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(
                f"{archive} holds {member.orig_filename!r}, which is a link or lies outside the "
                "folder, so nothing was unpacked; get the file from its publisher"
            )
        if member.flag_bits & 1:
            raise UserError(f"{archive} is encrypted; get the file from its publisher")
        if not member.is_dir() and path.parts[0] != "__MACOSX":
            members.append((member, path))
    if not members:
        raise UserError(f"{archive} is empty; get the file from its publisher")
    return members


def _check_space(needed: int, archive: Path, directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise UserError(
            f"unpacking {archive} needs {needed / 1e9:.1f} GB but only {free / 1e9:.1f} GB are "
            f"free in {directory}; free some space or choose another folder"
        )
