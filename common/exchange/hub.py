"""Share tickets on the Hugging Face Hub (extra `hub`). Tokens are the client's business (`hf auth login`, HF_TOKEN)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError, RunError
from common.exchange.card import CardFacts, ticket_card
from common.exchange.card_scores import read_score
from common.exchange.embed import embedded
from common.files import require_writable, write_bytes
from common.tickets.container import read_bytes
from common.tickets.header import parse_ticket
from common.tickets.ticket import Ticket, load_ticket

FILE = "ticket.safetensors"
CARD = "README.md"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Shared:
    """What was pushed: the address and id of the commit, the ticket's digest as shared, and the card's text."""

    url: str
    commit: str
    digest: str
    card: str


def push(
    source: Path | str,
    repo: str,
    *,
    licence: str,
    results: Sequence[Path | str] = (),
    file: str = FILE,
    revision: str | None = None,
    private: bool = False,
) -> Shared:
    """Put a ticket with its weights inside, and its card, on the Hub as one commit.

    Args:
        source: the ticket.
        repo: "user/name", made where it is absent.
        licence: the Hub's identifier of the licence under which the weights are given, such as "mit".
        results: result files of the ticket and of its controls, for the card; they are not uploaded themselves.
        file: the ticket's name there.
        revision: branch, made where it is absent; None: the main one.
        private: make a repository that only its owner sees; one that exists stays as it is.

    Raises:
        InputError: the package is missing; the ticket is a mask without weights; a result is of another ticket; the Hub refuses
            the name, the card or the user.
        RunError: the Hub cannot be reached or fails.
    """
    hub = _package()
    if not _NAME.fullmatch(file):
        raise InputError(f"--file: got {file!r}, expected a plain name that ends in .safetensors")
    ticket = load_ticket(source)
    content = embedded(ticket)
    header = parse_ticket(content, str(source)).header
    scores = [read_score(path, {ticket.digest, header["digest"]}) for path in results]
    card = ticket_card(CardFacts(repo, file, header, licence, scores))
    client = hub.HfApi()
    operations = [
        hub.CommitOperationAdd(path_in_repo=file, path_or_fileobj=content),
        hub.CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode("utf-8")),
    ]
    told = f"Ticket {header['digest'][:12]}: {header['arch']['name']} at density {header['density']:.4g}"

    def upload() -> Any:
        client.create_repo(repo, private=private or None, exist_ok=True)
        if revision is not None:
            client.create_branch(repo, branch=revision, exist_ok=True)
        return client.create_commit(repo, operations, commit_message=told, revision=revision)

    done = _asked(upload, repo, revision, file)
    return Shared(str(done.commit_url), str(done.oid), str(header["digest"]), card)


def pull(
    repo: str,
    path: Path | str,
    *,
    file: str = FILE,
    revision: str | None = None,
    digest: str | None = None,
) -> Ticket:
    """Fetch a ticket from the Hub; it is checked whole before it is put anywhere.

    Args:
        repo: "user/name".
        path: the file to write; where one exists already, it must be this very ticket.
        file: the ticket's name there.
        revision: branch, tag or commit; None: the newest of the main branch. A commit pins what is fetched.
        digest: what the ticket's digest must be; None: any.

    Returns:
        The ticket, read from `path`.

    Raises:
        InputError: the package is missing; there is no such repository, revision or file; the file is no ticket, damaged, edited,
            or another one than asked for; another file lies at `path`, or it cannot be written.
        RunError: the Hub cannot be reached or fails.
    """
    hub = _package()
    path = Path(path)
    require_writable(path.parent)
    client = hub.HfApi()
    with tempfile.TemporaryDirectory() as folder:
        fetch = lambda: client.hf_hub_download(repo, file, revision=revision, cache_dir=folder)
        content = read_bytes(_asked(fetch, repo, revision, file))
    where = f"{repo}/{file} at {revision or 'main'}"
    header = parse_ticket(content, where).header
    if digest is not None and header["digest"] != digest:
        raise InputError(f"{where} is ticket {header['digest']}, expected {digest}; nothing was written")
    if path.exists() and path.read_bytes() != content:
        raise InputError(f"{path} exists and is another file than {where}; choose another one")
    write_bytes(path, content)
    return load_ticket(path)


def _package() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError("the Hub needs the package huggingface_hub: pip install huggingface_hub (the extra hub)") from error
    return huggingface_hub


def _asked(action: Callable[[], _T], repo: str, revision: str | None, file: str) -> _T:
    """Ask the client for something; its errors become ours, in one line.

    What the user can mend is an InputError. Every other failure is a RunError, whatever its type: those of the transport are
    those of the client's HTTP library, which is another one from version to version.
    """
    from huggingface_hub import errors

    try:
        return action()
    except errors.LocalEntryNotFoundError as error:
        raise RunError(f"the Hub could not be reached for {repo}/{file}: {error}") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repo} has no revision {revision or 'main'} on the Hub") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(f"there is no {repo} on the Hub that you may use; {_LOG_IN}") from error
    except errors.EntryNotFoundError as error:
        raise InputError(f"{repo} has no file {file} at {revision or 'main'}; name it with --file") from error
    except errors.HFValidationError as error:
        raise InputError(f"the Hub takes names like user/name, got {repo!r}: {error}") from error
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise InputError(f"the Hub refuses you {repo}; {_LOG_IN}: {error}") from error
        if isinstance(error, ValueError):  # the client found the card or a name wrong
            raise InputError(f"the Hub refuses {repo}: {error}") from error
        raise RunError(f"the Hub failed for {repo}: {type(error).__name__}: {error}") from error
