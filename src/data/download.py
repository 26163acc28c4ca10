"""Downloads that survive a broken connection and are used only when their checksum is right."""

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
import urllib3
from tqdm import tqdm

from src.errors import UserError

_PIECE = 1 << 20  # bytes
_ATTEMPTS_UNSEEN = 2  # for a server that has not sent anything yet
_TEMPORARY = {408, 429, 500, 502, 503, 504}  # answers after which the same request may succeed


class DownloadFailed(Exception):
    """The reason why a file could not be fetched, as half a sentence."""


class ResumingDownloader:
    """Downloader for :func:`pooch.retrieve` that continues where a connection broke.

    What has arrived stays in ``partial``, also when the program ends; the next attempt asks for
    the rest (HTTP ``Range``). A server that ignores the request, or that has another file by now,
    makes it start again from the first byte.

    Args:
        partial: file that collects the bytes.
        attempts: how many attempts in a row may bring nothing new (2 as long as nothing has
            arrived at all: a network that refuses is told at once).
        wait: seconds before the second attempt; doubles with each further one.
        timeout: seconds without any byte after which a connection counts as broken.
        progress: show a progress bar; None shows it on a terminal only.
    """

    def __init__(
        self,
        partial: Path,
        *,
        attempts: int = 6,
        wait: float = 1.0,
        timeout: float = 30.0,
        progress: bool | None = None,
    ) -> None:
        self.partial = partial
        self.attempts = attempts
        self.wait = wait
        self.timeout = timeout
        self.disable_bar = None if progress is None else not progress
        self.continued = self._size() > 0

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> None:
        """Fetch ``url`` into ``output_file``.

        Raises:
            DownloadFailed: the server refuses, or too many attempts bring nothing.
        """
        failures, reason, seen = 0, "", False
        while failures < (self.attempts if seen else _ATTEMPTS_UNSEEN):
            if failures:
                time.sleep(self.wait * 2 ** (failures - 1))
            before = self._size()
            try:
                if self._attempt(url):
                    os.replace(self.partial, output_file)
                    return
                reason = "the connection broke off"
            except requests.RequestException as error:
                reason = _reason(error)
            except urllib3.exceptions.HTTPError:
                reason = "the connection broke off"
            arrived = self._size() > before
            seen = seen or arrived
            failures = 0 if arrived else failures + 1
        raise DownloadFailed(reason)

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _attempt(self, url: str) -> bool:
        """One request; True if the file is complete afterwards."""
        have = self._size()
        # Without compression, because byte ranges count the bytes of the file itself.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            start, total = _content_range(answer.headers.get("Content-Range", ""))
            if answer.status_code == 416:  # nothing from here on: complete, or another file
                if total == have:
                    return True
                self.partial.unlink()
                return False
            if answer.status_code in _TEMPORARY:
                raise requests.HTTPError(f"the server answers {answer.status_code}")
            if answer.status_code not in (200, 206):
                raise DownloadFailed(f"the server answers {answer.status_code} {answer.reason}")
            if answer.status_code == 200 or start != have:
                if answer.status_code == 206 and start != 0:
                    self.partial.unlink()
                    return False
                have = 0
            if total is None and "Content-Length" in answer.headers:
                total = have + int(answer.headers["Content-Length"])
            with (
                open(self.partial, "ab" if have else "wb") as file,
                tqdm(
                    total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024,
                    desc=self.partial.stem, disable=self.disable_bar,
                ) as bar,
            ):  # fmt: skip
                # read1 hands over what has arrived; waiting for whole pieces would lose the last.
                while piece := answer.raw.read1(_PIECE, decode_content=False):
                    file.write(piece)
                    bar.update(len(piece))
        return total is None or self._size() == total


def _content_range(value: str) -> tuple[int | None, int | None]:
    """First byte and total of ``bytes 5-9/10`` or ``bytes */10``; None for what is not told."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", value.strip())
    if not match:
        return None, None
    start, total = match.groups()
    return start and int(start), None if total == "*" else int(total)


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy of this network refuses"
    if isinstance(error, requests.exceptions.SSLError):
        return "the secure connection fails"
    if isinstance(error, requests.HTTPError):
        return str(error)
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server"
    return f"the address is not usable ({error})"


def md5_matches(path: Path, md5: str) -> bool:
    """Whether a file exists and has this MD5."""
    return path.is_file() and pooch.file_hash(str(path), alg="md5") == md5


def fetch(
    name: str,
    directory: str | os.PathLike,
    *,
    md5: str,
    urls: Sequence[str],
    manual: str,
    downloader: Callable[[Path], ResumingDownloader] = ResumingDownloader,
) -> Path:
    """Have a file with a known checksum in a folder; download it if it is not there yet.

    Args:
        name: name of the file.
        directory: folder, created if necessary.
        md5: its checksum.
        urls: addresses of the file, tried in turn. A link to a Google Drive folder is searched
            for ``name`` with gdown.
        manual: what a person can do instead, the end of the sentence when nothing works.
        downloader: makes the downloader for a partial file.

    Returns:
        Path of the file.

    Raises:
        UserError: no address works, the checksum is wrong, or the folder cannot be written.
    """
    path = Path(directory) / name
    partial = path.with_name(name + ".part")
    reasons = []
    if path.exists() and not md5_matches(path, md5):
        reasons.append(f"the file {path} that is there is damaged (its MD5 is not {md5})")
    for url in urls:
        host = urlsplit(url).hostname or url
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if host == "drive.google.com":
                return _from_drive(url, path, md5)
            fetch_one = downloader(partial)
            try:
                return _retrieve(url, path, md5, fetch_one)
            except ValueError:
                if not fetch_one.continued:
                    raise
                # The beginning came from an earlier run and may belong to another file.
                return _retrieve(url, path, md5, downloader(partial))
        except DownloadFailed as error:
            reasons.append(f"{host}: {error}")
        except ValueError:
            reasons.append(f"{host}: what it sends has the wrong checksum")
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; free some space or choose "
                "another folder"
            ) from error
    raise UserError(f"cannot download {name} ({'; '.join(reasons)}); {manual}")


def _retrieve(url: str, path: Path, md5: str, downloader: ResumingDownloader) -> Path:
    pooch.retrieve(
        url, known_hash=f"md5:{md5}", fname=path.name, path=path.parent, downloader=downloader
    )
    return path


def _from_drive(url: str, path: Path, md5: str) -> Path:
    try:
        import gdown
    except ImportError as error:
        raise DownloadFailed("Google Drive needs gdown: pip install gdown") from error
    folder = path.with_name(path.name + ".drive")
    try:
        gdown.download_folder(url, output=str(folder), quiet=True, resume=True)
    except Exception as error:  # gdown has no common base class for what a web page may answer
        raise DownloadFailed(f"gdown cannot read that folder ({error})") from error
    found = next((file for file in sorted(folder.rglob(path.name)) if file.is_file()), None)
    if found is None:
        raise DownloadFailed("that folder does not hold the file")
    if not md5_matches(found, md5):
        raise ValueError(found)
    os.replace(found, path)
    shutil.rmtree(folder, ignore_errors=True)
    return path
