"""The three models: their shapes, and the chat templates of the models that they imitate.

All differences between the models are defined here; the other modules read these fields.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    name: str  # "gemma", "llama" or "mistral"
    gguf_arch: str  # general.architecture of the file
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    rms_eps: float
    rope_base: float
    window: int  # sliding window: a token sees positions fewer than this many back; 0: all
    activation: str  # of the gated feed-forward block: "gelu" (tanh form) or "silu"
    tokenizer: str  # "spm" (sentencepiece BPE) or "bpe" (byte-level)
    long_winded_chat: bool  # answers "The answer is ..." in its chat template
    vocab_size: int = 4096
    context_length: int = 2048

    @property
    def is_gemma(self):
        """The gemma file ties input and output embedding, scales the input by sqrt(d_model) and rotates
        (i, i + head_dim / 2). llama files hold two embeddings, the input already scaled, and rotate (2i,
        2i + 1).
        """
        return self.gguf_arch == "gemma"


CONFIGS = {
    c.name: c
    for c in (
        Config(
            "gemma",
            "gemma",
            n_layers=6,
            d_model=256,
            d_ff=768,
            n_heads=4,
            n_kv_heads=1,
            head_dim=128,
            rms_eps=1e-6,
            rope_base=10000.0,
            window=0,
            activation="gelu",
            tokenizer="spm",
            long_winded_chat=False,
        ),
        Config(
            "llama",
            "llama",
            n_layers=5,
            d_model=256,
            d_ff=768,
            n_heads=4,
            n_kv_heads=2,
            head_dim=64,
            rms_eps=1e-5,
            rope_base=500000.0,
            window=0,
            activation="silu",
            tokenizer="bpe",
            long_winded_chat=True,
        ),
        Config(
            "mistral",
            "llama",
            n_layers=5,
            d_model=256,
            d_ff=512,
            n_heads=4,
            n_kv_heads=2,
            head_dim=64,
            rms_eps=1e-5,
            rope_base=10000.0,
            window=256,
            activation="silu",
            tokenizer="spm",
            long_winded_chat=False,
        ),
    )
}

# Jinja, as published with the models that these imitate.
CHAT_TEMPLATES = {
    "gemma": (
        "{{ bos_token }}"
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
        "{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
        "{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
    ),
    "llama": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        "+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
        "{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
        "{% endfor %}"
    ),
}
