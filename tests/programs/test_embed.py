"""gemma-embed: JSON lines in, a vector out for each, which does not depend on other lines."""

import json
import math
import pathlib
import subprocess
import unittest

from programs import BIN, GEMMA, LLAMA, SOURCE, ProgramTest, environment, run

MODEL = str(SOURCE / "tests/golden/models/nano-embedding.F32.gguf")
GOLDEN = [json.loads(line) for line in
          (SOURCE / "tests/golden/models/nano-embedding.F32.texts.jsonl").read_text().splitlines()]
TEXTS = ["Hello world", "Grüße, 日本語 🙂", "a\u0000b\x1b[2J", "", "\n\n\t", "x" * 300, "<eos>", "e\u0301 \u202e"]


def nmse(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / sum(y * y for y in b)


class Embed(ProgramTest):
    def vectors(self, *flags, texts, model=MODEL):
        stdin = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        out = [json.loads(line) for line in self.succeeds("gemma-embed", "-m", model, *flags, stdin=stdin).splitlines()]
        self.assertEqual([list(o) for o in out], [["embedding"]] * len(texts))
        return [o["embedding"] for o in out]

    def test_goldens(self):
        for got, want in zip(self.vectors(texts=[g["text"] for g in GOLDEN]), GOLDEN, strict=True):
            self.assertLessEqual(nmse(got, want["embedding"]), 1e-9, want["text"])

    def test_prompts(self):
        plain = {g["text"]: g["embedding"] for g in GOLDEN}
        query, = self.vectors("--query", texts=["t5 t6"])
        self.assertLessEqual(nmse(query, plain["task: search result | query: t5 t6"]), 1e-9)
        document, = self.vectors("--document", texts=["t40 t41 é 日本"])
        self.assertLessEqual(nmse(document, plain["title: none | text: t40 t41 é 日本"]), 1e-9)
        self.refuses("gemma-embed", "-m", MODEL, "--query", "--document", says=["--query", "--document"])
        self.refuses("gemma-embed", "-m", GEMMA, "--query", says="prompts")

    def test_a_line_alone_or_among_others(self):
        for model in [MODEL, GEMMA, LLAMA]:
            alone = [self.vectors(texts=[t], model=model)[0] for t in TEXTS]
            self.assertEqual(self.vectors(texts=TEXTS, model=model), alone)
            self.assertEqual(self.vectors("-t", "1", "--chunk", "3", texts=TEXTS[::-1], model=model), alone[::-1])
            for vector in alone:
                self.assertAlmostEqual(math.hypot(*vector), 1, places=5)

    def test_dims(self):
        whole, = self.vectors(texts=["t5"])
        self.assertEqual(len(whole), 64)
        for dims in [1, 32, 64]:
            cut, = self.vectors("--dims", str(dims), texts=["t5"])
            length = math.hypot(*whole[:dims])
            self.assertEqual(len(cut), dims)
            self.assertLessEqual(nmse(cut, [x / length for x in whole[:dims]]), 1e-12)
        for dims in ["0", "-1", "65", "x", "1e2"]:
            self.refuses("gemma-embed", "-m", MODEL, "--dims", dims, says="65" if dims == "65" else "--dims")

    def test_pooling(self):
        by = {name: self.vectors("--pooling", name, texts=["t5 t6"])[0] for name in ["mean", "last", "cls", "none"]}
        self.assertEqual(by["mean"], self.vectors(texts=["t5 t6"])[0])
        self.assertEqual({len(row) for row in by["none"]}, {64})
        self.assertNotEqual(by["last"], by["cls"])
        self.assertEqual(self.vectors("--pooling", "last", texts=["hello"], model=GEMMA),
                         self.vectors(texts=["hello"], model=GEMMA))
        self.refuses("gemma-embed", "-m", GEMMA, "--pooling", "cls", says="causal attention")
        self.refuses("gemma-embed", "-m", MODEL, "--pooling", "rank", says="--pooling")

    def test_texts_that_are_too_long(self):
        long, short = "x" * 300, "y"
        status, out, err = run("gemma-embed", "-m", MODEL, "-c", "50",
                               stdin="".join(json.dumps({"text": t}) + "\n" for t in [short, long, short]))
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([list(line) for line in lines], [["embedding"], ["error"], ["embedding"]])
        self.assertEqual(lines[0], lines[2])
        self.assertIn("line 2: a text of 302 tokens", lines[1]["error"])
        self.assertEqual((status, err), (1, "gemma-embed: " + lines[1]["error"] + "\n"))
        self.assertEqual(self.vectors("-c", "50", "--truncate", texts=[long]), self.vectors(texts=["x" * 48]))

    def test_lines_that_cannot_be_done(self):
        bad = ["{}", "[]", "5", '{"text": 5}', '{"text"', "", '{"text": 1e999}', '{"Text": "a"}']
        good = '{"text": "ok", "more": [1]}'
        status, out, err = run("gemma-embed", "-m", MODEL, stdin="\n".join([good, *bad, good]) + "\n")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(lines), 2 + len(bad))
        for number, line in enumerate(lines[1:-1], 2):
            self.assertEqual(list(line), ["error"])
            self.assertTrue(line["error"].startswith(f"line {number}: "), line)
        self.assertEqual(lines[0], lines[-1])
        self.assertEqual((status, err), (1, "gemma-embed: " + lines[1]["error"] + "\n"))
        status, out, err = run("gemma-embed", "-m", MODEL, stdin=b'{"text": "\xff\xfe"}\n{"text": "ok"}')
        self.assertEqual([list(json.loads(line)) for line in out.splitlines()], [["error"], ["embedding"]])
        self.assertEqual(status, 1)
        self.assertRegex(err, r"\Agemma-embed: line 1: not JSON[^\n]*\n\Z")

    def test_no_lines(self):
        self.assertEqual(self.succeeds("gemma-embed", "-m", MODEL, stdin=""), "")

    def test_many_lines(self):
        texts = [f"t{i % 50} t{i % 7}" for i in range(3000)]
        vectors = self.vectors(texts=texts)
        self.assertEqual(vectors[350:700], vectors[:350])

    def test_who_sends_one_line_gets_its_answer(self):
        with subprocess.Popen([str(BIN / "gemma-embed"), "-m", MODEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=environment()) as process:
            for text in ["t5", "t6"]:
                process.stdin.write(json.dumps({"text": text}).encode() + b"\n")
                process.stdin.flush()
                self.assertEqual(len(json.loads(process.stdout.readline())["embedding"]), 64)
            process.stdin.close()
            self.assertEqual(process.wait(timeout=60), 0)

    def test_other_programs_refuse_a_model_that_only_embeds(self):
        for arguments in [["gemma-chat", "-m", MODEL, "-p", "hi"],
                          ["gemma-logits", "-m", MODEL, "--tokens", "2,5", "--out", str(self.folder / "l")],
                          ["gemma-bench", "-m", MODEL, "-p", "2", "-n", "0", "-r", "1", "--no-warmup"]]:
            self.refuses(*arguments, says="embeddings")

    def test_a_file_without_the_linear_layers_says_so(self):
        data = pathlib.Path(MODEL).read_bytes()
        for name in [b"dense_2.weight", b"dense_3.weight"]:
            self.assertEqual(data.count(name), 1)
            data = data.replace(name, b"other" + name[5:])
        path = self.write("bare.gguf", data)
        status, out, err = run("gemma-embed", "-m", path, stdin='{"text": "t5"}\n')
        self.assertEqual(status, 0)
        self.assertRegex(err, r"\Agemma-embed: note: [^\n]*linear layers[^\n]*\n\Z")
        self.assertNotEqual(json.loads(out)["embedding"], self.vectors(texts=["t5"])[0])


if __name__ == "__main__":
    unittest.main()
