"""article.py agrees with gemma-squad's --preset article in prompts, questions, seeds, answers, ranks and p values.

With GEMMA_SQUAD=PROGRAM, the tests run gemma-squad for comparison.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import gemma_cpp
from model_file import EXAMPLES, MODEL

spec = importlib.util.spec_from_file_location("article", EXAMPLES / "python" / "article.py")
article = importlib.util.module_from_spec(spec)
sys.modules["article"] = article
spec.loader.exec_module(article)

SET = EXAMPLES / "squad" / "demo_set.json"


def has(*modules):
    return all(importlib.util.find_spec(m) for m in modules)


class Article(unittest.TestCase):
    def test_the_prompt_is_gemma_squads_to_the_byte(self):
        source = (EXAMPLES / "squad" / "prompts.hpp").read_text(encoding="utf-8")
        literals = re.search(r"kArticleTemplate =\s*((?:\"[^\n]*\"\s*)+);", source)[1]
        template = "".join(ast.literal_eval(line.strip()) for line in literals.splitlines())
        self.assertEqual(article.TEMPLATE, template)
        self.assertEqual(len(article.TEMPLATE), len(template.encode()))

    @unittest.skipUnless(has("langchain_core"), "langchain-core is not installed")
    def test_langchain_fills_it_alike(self):
        generator = article.LlamaCppGenerator(MODEL, n_ctx=64)
        context, question = "A {context} with {braces}, \u00e9", "{question}?"
        want = article.TEMPLATE.split("{context}")
        want = want[0] + context + want[1].replace("{question}", question)
        self.assertEqual(generator.prompt_of(context, question), want)

    def test_draws(self):
        draw = article.SplitMix64(1234567)
        self.assertEqual([draw.next() for _ in range(2)], [6457827717110365317, 3203168211198807973])
        questions = article.read_squad(str(SET))
        all_of_them = article.select(questions, 0, 5)
        self.assertEqual(sorted(q.id for q in all_of_them), sorted(q.id for q in questions))
        self.assertEqual(len(article.select(questions, 7, 5)), 7)

    def test_words_and_ranks(self):
        self.assertEqual(article.word_count("In 1889, it's 3 words."), 3)
        self.assertEqual(article.word_count("1889"), 0)
        self.assertEqual(article.ranks_of([0.5, 1.0, 0.5]), [2.5, 1, 2.5])
        self.assertAlmostEqual(article.f1("The old tower!", ["tower", "a red tower"]), 2 / 3)

    @unittest.skipUnless(has("scikit_posthocs", "pandas"), "scikit-posthocs is not installed")
    def test_p_values(self):
        import pandas

        # z = 6.690 x the difference of mean ranks where sixty questions have the ranks 1, 2, 3 (no ties within them)
        ranks = [(1, 2, 3)] * 30 + [(2, 1, 3)] * 30
        rows = [{"model": m, "rank": r} for each in ranks for m, r in zip("abc", each)]
        p = article.dunn(pandas.DataFrame(rows))
        self.assertAlmostEqual(p.loc["a", "b"], 1.0, places=9)
        self.assertLess(p.loc["a", "c"], 1e-20)

    @unittest.skipUnless("GEMMA_SQUAD" in os.environ, "there is no gemma-squad")
    def test_answers_and_ranks_are_gemma_squads(self):
        names = ["gemma", "llama", "mistral"]
        models = [(name, str(EXAMPLES / "models" / f"{name}-demo.Q4_K_M.gguf")) for name in names]
        with tempfile.TemporaryDirectory() as folder:
            command = [os.environ["GEMMA_SQUAD"], "run", "--squad", str(SET), "-n", "2", "--seed", "9", "--preset", "article",
                       "--out", folder, "-q", "-t", "1"]
            for name, path in models:
                command += ["--model", f"{name}={path}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            said = {}
            for line in Path(folder, "answers.jsonl").read_text(encoding="utf-8").splitlines():
                answer = json.loads(line)
                said[answer["model"], answer["id"]] = answer["answer"]
            verdicts = article.read_verdicts(str(next(Path(folder).glob("verdicts-*.jsonl"))),
                                             article.read_squad(str(SET)), names)
            summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
            asked = json.loads(Path(folder, "questions.json").read_text(encoding="utf-8"))
        questions = article.select(article.read_squad(str(SET)), 2, 9)
        ids = [qa["id"] for a in asked["data"] for p in a["paragraphs"] for qa in p["qas"]]
        self.assertEqual([q.id for q in questions], ids)
        scores = {q.id: [] for q in questions}
        for name, path in models:
            llm = gemma_cpp.Llama(path, n_ctx=1024, n_threads=1, verbose=False)
            for q in questions:
                before, after = article.TEMPLATE.split("{context}")
                prompt = before + q.context + after.replace("{question}", q.question)
                got = llm(prompt, max_tokens=2000, temperature=0.7, top_k=40, top_p=0.95, min_p=0.0, repeat_penalty=1.1,
                          seed=article.sampling_seed(9, q.id))["choices"][0]["text"]
                self.assertEqual(got, said[name, q.id])
                scores[q.id].append(article.f1(got, q.answers))
        self.assertEqual({id: article.ranks_of(s) for id, s in scores.items()}, verdicts)
        if has("scikit_posthocs", "pandas"):
            import pandas

            rows = [{"model": m, "rank": r} for ranks in verdicts.values() for m, r in zip(names, ranks)]
            p = article.dunn(pandas.DataFrame(rows))
            for pair in summary["measures"]["raq_f1"]["dunn_holm"]:
                self.assertAlmostEqual(p.loc[pair["a"], pair["b"]], pair["p_holm"], delta=1e-9)


if __name__ == "__main__":
    unittest.main()
