"""The same work on many recordings at once, without one bad recording stopping the rest."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from tqdm import tqdm

from src.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    *,
    workers: int = 1,
    label: str = "",
    progress: bool = False,
) -> tuple[dict[int, Result], dict[int, str]]:
    """Call ``work`` for every item, in threads.

    Threads suffice where the time goes into decoding, transforms and other programs, all outside
    the interpreter. Meanwhile torch uses one core in each of them.

    Args:
        items: what to work on.
        work: may raise UserError, OSError for an item that cannot be used.
        workers: number of threads.
        label: of the progress bar.
        progress: show it.

    Returns:
        Results by position of the item, and for the items that failed the reasons by position.
    """
    results: dict[int, Result] = {}
    reasons: dict[int, str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the parallelism is over items
    queue = iter(enumerate(items))
    running: dict[Future, int] = {}
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with tqdm(total=len(items), desc=label, unit="file", disable=not progress) as bar:
            while True:
                # Not all at once: Ctrl-C then waits for a few items only.
                while len(running) < 2 * workers and (entry := next(queue, None)) is not None:
                    running[pool.submit(work, entry[1])] = entry[0]
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    position = running.pop(future)
                    try:
                        results[position] = future.result()
                    except UserError as error:
                        reasons[position] = str(error)
                    except OSError as error:
                        name = f"{error.filename}: " if error.filename else ""
                        reasons[position] = f"{name}{error.strerror or error}"
                    bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return results, {position: reasons[position] for position in sorted(reasons)}
