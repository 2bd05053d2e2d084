"""Prompts as token ids: two layouts, each plain or as the user's message of the model's chat template.

A prompt comes in two parts, the prefix with the context and the suffix with the question, so that several
questions can share one context. The two are tokenised apart: nothing merges across the newline between
them.
"""
INSTRUCTION = "Use the following pieces of context to answer the question at the end."
INDENT = " " * 12
PREFIX = {
    "plain": INSTRUCTION + "\n{}\n",  # ends with the newline after the context
    "indented": f"\n{INDENT}{INSTRUCTION} \n{INDENT}{{}}\n",
}
SUFFIX = {
    "plain": "Question: {}\nAnswer:",
    "indented": f"{INDENT}Question: {{}}\n{INDENT}Answer:\n        ",
}
LONG_WINDED_START = "The answer is"


class Prompter:
    """Makes the token ids of prompts and answers for one model."""

    def __init__(self, config, tokenizer):
        self.config, self.tokenizer = config, tokenizer

    def prefix(self, layout, chat, context):
        tok, encode, text = self.tokenizer, self.tokenizer.encode, PREFIX[layout].format(context)
        if self.config.name == "mistral":  # the leading space is the tokenizer's dummy prefix
            return [tok.bos] + encode(" [INST] " + text if chat else " " + text)
        if not chat:
            return [tok.bos] + encode(text)
        text = text.lstrip()  # these templates trim the content
        if self.config.name == "gemma":
            return [tok.bos, tok.start_of_turn] + encode("user\n" + text)
        return [tok.bos, tok.start_header] + encode("user") + [tok.end_header] + encode("\n\n" + text)

    def suffix(self, layout, chat, question):
        tok, encode, text = self.tokenizer, self.tokenizer.encode, SUFFIX[layout].format(question)
        if not chat:
            return encode(text)
        if self.config.name == "mistral":
            return encode(text + " [/INST]")
        turn = encode(text.rstrip()) + [tok.end_of_turn]
        if self.config.name == "gemma":
            return turn + encode("\n") + [tok.start_of_turn] + encode("model\n")
        return turn + [tok.start_header] + encode("assistant") + [tok.end_header] + encode("\n\n")

    def prompt(self, layout, chat, context, question):
        return self.prefix(layout, chat, context) + self.suffix(layout, chat, question)

    def answer(self, chat, text):
        """(ids that introduce the answer, ids of the answer with its full stop, if any, and the end
        token)"""
        tok = self.tokenizer
        end = [tok.end_of_turn if chat else tok.eos]
        if chat and self.config.long_winded_chat:
            return tok.encode(LONG_WINDED_START), tok.encode(" " + text) + tok.encode(".") + end
        return [], tok.encode(" " + text) + end

    def answer_body(self, chat, answer_ids):
        """The part of the ids of answer() that can be copied from the context."""
        return answer_ids[:-2] if chat and self.config.long_winded_chat else answer_ids[:-1]
