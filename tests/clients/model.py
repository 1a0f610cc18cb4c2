"""A generated language model of 0.5 MB with random weights, which every program takes for a real one.

It knows twenty words, and reads everything else byte by byte. It generates only those words: the
output rows of all other tokens are zero, so that one of the words is likelier at each step.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WORDS = (
    *("a", "and", "are", "as", "be", "by", "for", "from", "in", "is"),
    *("it", "not", "of", "on", "or", "that", "the", "this", "to", "with"),
)

_LAYERS, _WIDTH, _HEADS, _INNER = 2, 64, 4, 128
_BLANK = "\u2581"
"""SentencePiece's character for a space."""
_TOKENS = [
    ("<unk>", gguf.TokenType.UNKNOWN),
    ("<s>", gguf.TokenType.CONTROL),
    ("</s>", gguf.TokenType.CONTROL),
    *((f"<0x{byte:02X}>", gguf.TokenType.BYTE) for byte in range(256)),
    (_BLANK, gguf.TokenType.NORMAL),
    *((_BLANK + word, gguf.TokenType.NORMAL) for word in WORDS),
    # Generated at random like a word; the engine's grammar dictates what follows.
    ("<tool_call>", gguf.TokenType.USER_DEFINED),
]

# Like Qwen 2.5's, from which llama.cpp derives the format of tool calls.
_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8").strip()


def write(path: Path, *, seed: int, context: int) -> None:
    """Write a model.

    Args:
        path: path of the file.
        seed: seed of the weights; models with different seeds respond differently.
        context: its context length in tokens.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_block_count(_LAYERS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_chat_template(_TEMPLATE)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _ in _TOKENS])
    writer.add_token_scores([0.0] * len(_TOKENS))
    writer.add_token_types([kind for _, kind in _TOKENS])
    for name, weights in _tensors(np.random.default_rng(seed)):
        writer.add_tensor(f"{name}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(chance: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def weights(*shape: int) -> NDArray[np.float32]:
        return chance.normal(0, 0.3, shape).astype(np.float32)

    ones = np.ones(_WIDTH, np.float32)
    output = weights(len(_TOKENS), _WIDTH)
    output[: -len(WORDS) - 1] = 0
    yield "token_embd", weights(len(_TOKENS), _WIDTH)
    yield "output_norm", ones
    yield "output", output
    for layer in range(_LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}", ones
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}", weights(_WIDTH, _WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}", weights(_INNER, _WIDTH)
        yield f"blk.{layer}.ffn_down", weights(_WIDTH, _INNER)
