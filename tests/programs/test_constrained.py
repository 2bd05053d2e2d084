"""gemma-chat with --json-schema and --grammar."""

import json
import unittest

from programs import GEMMA, LLAMA, MISTRAL, ProgramTest

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
          "maximum": 150}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}}, "required": ["name", "age", "tags"]}


class Constrained(ProgramTest):
    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_a_schema(self):
        schema = self.file("person.json", json.dumps(PERSON))
        for model in [GEMMA, LLAMA, MISTRAL]:
            for flags in [["--temp", "0"], ["--temp", "1.5", "--top-k", "0", "--top-p", "1", "--seed", "4"], ["--raw", "--temp", "0"]]:
                answer = json.loads(self.succeeds("gemma-chat", "-m", model, "-p", "A person.", "--json-schema", schema, "--json",
                                                  "-n", "300", *flags))
                self.assertEqual(answer["stop_reason"], "end_of_turn", answer["text"])
                person = json.loads(answer["text"])
                self.assertEqual(list(person), ["name", "age", "tags"])
                self.assertLessEqual(len(person["name"]), 12)
                self.assertTrue(0 <= person["age"] <= 150)
                self.assertTrue(len(person["tags"]) <= 2 and set(person["tags"]) <= {"a", "b"})

    def test_a_grammar_for_every_turn(self):
        grammar = self.file("answer.gbnf", 'root ::= "yes" | "no" # nothing else\n')
        out = self.succeeds("gemma-chat", "-m", GEMMA, "--grammar", grammar, "--json", "--temp", "3", "--seed", "1", stdin="One?\nTwo?\nThree?\n")
        for line in out.splitlines():
            self.assertIn(json.loads(line)["text"], ["yes", "no"])
        self.assertEqual(out.count("\n"), 3)

    def test_what_is_cut_is_the_beginning(self):
        schema = self.file("s.json", '{"type": "string", "minLength": 100}')
        answer = json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "-p", "x", "--json-schema", schema, "--json", "-n", "5", "--temp", "0"))
        self.assertEqual(answer["stop_reason"], "max_tokens")
        self.assertTrue(answer["text"].startswith('"'))

    def test_errors_name_the_file(self):
        bad = self.file("bad.json", '{"uniqueItems": true}')
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "x", "--json-schema", bad, says=["bad.json", "uniqueItems"])
        loop = self.file("loop.gbnf", 'root ::= root "a" | "b"')
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "x", "--grammar", loop, says=["loop.gbnf", "'root'"])
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "x", "--grammar", str(self.folder / "none"), says="none")
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "x", "--grammar", loop, "--json-schema", bad, says="--json-schema")


unittest.main()
