"""`tools.weights push`: a model folder to the Hugging Face hub."""
from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import network
from network.checkpoints.model_folder import CARD
from network.checkpoints.pretrained import MODEL_FILES
from tools.weights.card import PICTURE
from utils.cli import FlagParser, add_switch
from utils.errors import in_a_line
from utils.packages import require_package

# what is uploaded: no pickle, and nothing else that lies in the folder
FILES = (*MODEL_FILES, CARD, PICTURE)


def add_push_flags(parser: FlagParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER",
                        help="model folder with a card, see `pack` and `card`")
    parser.add_argument("name", metavar="USER/NAME", help="name of the network on the hub")
    add_switch(parser, "--private", default=False, help="make a new network visible to you alone")


def push(args: Namespace) -> bool:
    """Uploads a model folder after reading it strictly; the login is that of `hf auth login`.

    Returns:
        True.

    Raises:
        ValueError, OSError: the folder is invalid or has no card, huggingface_hub is not installed,
            or the hub refuses the upload.
    """
    # a folder that cannot be loaded is not uploaded
    network.from_pretrained(args.folder)
    missing = [name for name in FILES if not (args.folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{args.folder} lacks {' and '.join(missing)}: write the card with "
                                f"python -m tools.weights card {args.folder} --scores "
                                "EVALUATION/scores.json")
    print(upload(args.folder, args.name, args.private))
    return True


def upload(folder: Path, name: str, private: bool) -> str:
    """Uploads a folder, to a new network if the hub has none of the name; returns the commit's URL.

    Raises:
        ValueError: huggingface_hub cannot be imported, the name is invalid, or the hub refuses.
    """
    require_package("huggingface_hub", needed_by="push", extra="hub",
                    module="huggingface_hub.hf_api")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    api = HfApi()
    try:
        # None is the default of the account or the organization
        api.create_repo(name, private=private or None, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=[*FILES],
                                   commit_message="Upload a network of SFSegNets")
        return str(commit.commit_url)
    # the bases are OSError and every error of the HTTP library, such as a missing connection
    except (*HfHubHTTPError.__bases__, ValueError) as error:
        raise ValueError(f"{name} cannot be pushed ({in_a_line(error, whole=False)}): check the "
                         "name, the connection, and the login (hf auth login, or the variable "
                         "HF_TOKEN)") from error
