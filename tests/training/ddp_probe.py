"""Run by torchrun: tools.train as typed, then the weights of every process, to be compared."""

from pathlib import Path

from src.files import save_tensors
from src.training.coverhunter_loop import Loop
from tools.train import main

original = Loop.run


def run(self: Loop) -> None:
    original(self)
    folder = Path(self.model_dir)
    save_tensors(self.model.state_dict(), folder / f"rank{self.team.rank}.pt")


if __name__ == "__main__":
    Loop.run = run
    main()
