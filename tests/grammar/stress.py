"""Tests generated schemas: texts are made of random tokens, and independent validators check each complete text.
    stress.py GRAMMAR_WALK VOCABULARY.gguf [SCHEMAS [SEED [WALKS]]]
GRAMMAR_WALK is build/ci/tests/grammar/grammar_walk (target grammar_walk). Needs Python's jsonschema; where NODE_PATH
holds ajv and ajv-formats (npm), ajv is used as well. Prints the time of the masks; exit status 1 for an invalid text.
"""

import json
import os
import random
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    sys.exit("stress.py needs Python's jsonschema (pip install jsonschema)")

NAMES = ["name", "id", "a", "ab", "abc", "größe", "with space", 'quo"te', "back\\slash", "日本", "type", "items", "x-y", "42", ""]
WORDS = ["red", "green", "blue", "", "a b", 'q"', "line\nbreak", "é", "日本語", "\\"]
PATTERNS = ["^[A-Z]{2,4}$", "^\\d{3}-\\d{4}$", "^(foo|bar)+$", "[0-9]", "^a", "z$", "^[^\"x]*$", "^.{1,5}$", "^\\w+\\s\\w+$",
            "^[\\u00e0-\\u00ff]{1,3}$", "^(a|b)?c{2}$", "^\\S+$", "^$", "a|b"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "hostname", "ipv4", "ipv6", "uri", "json-pointer", "duration"]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.defs = {}

    def value(self, depth=0):
        kind = self.r.randrange(6 if depth < 2 else 4)
        return [lambda: None, lambda: self.r.random() < 0.5, lambda: self.r.randrange(-999, 9999), lambda: self.r.choice(WORDS),
                lambda: [self.value(depth + 1) for _ in range(self.r.randrange(3))],
                lambda: {n: self.value(depth + 1) for n in self.r.sample(NAMES, self.r.randrange(3))}][kind]()

    def integer(self):
        s = {"type": "integer"}
        low = self.r.choice([None, self.r.randrange(-5000, 5000), 0, 1, 0.5])
        high = self.r.choice([None, (low or 0) + self.r.randrange(2, 10 ** self.r.randrange(1, 7))])
        if low is not None:
            s[self.r.choice(["minimum", "exclusiveMinimum"])] = low
        if high is not None:
            s[self.r.choice(["maximum", "exclusiveMaximum"])] = high
        return s

    def number(self):
        s = {"type": "number"}
        if self.r.random() < 0.6:
            low = round(self.r.uniform(-50, 50), self.r.randrange(4))
            s[self.r.choice(["minimum", "exclusiveMinimum"])] = low
            if self.r.random() < 0.6:
                s[self.r.choice(["maximum", "exclusiveMaximum"])] = round(low + self.r.uniform(0.01, 300), 3)
        return s

    def string(self):
        s = {"type": "string"}
        kind = self.r.randrange(4)
        if kind == 0:
            s["minLength"] = self.r.randrange(0, 8)
            s["maxLength"] = s["minLength"] + self.r.randrange(0, 60)
        elif kind == 1:
            s["pattern"] = self.r.choice(PATTERNS)
        elif kind == 2:
            s["format"] = self.r.choice(FORMATS)
        return s

    def array(self, depth):
        s = {"type": "array"}
        if self.r.random() < 0.2:
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(self.r.randrange(1, 4))]
        if self.r.random() < 0.8:
            s["items"] = self.schema(depth + 1) if "prefixItems" not in s or self.r.random() < 0.6 else False
        if self.r.random() < 0.5 and s.get("items") is not False:
            s["minItems"] = self.r.randrange(3)
            s["maxItems"] = s["minItems"] + self.r.randrange(4)
        return s

    def object(self, depth):
        names = self.r.sample(NAMES, self.r.randrange(0, 6))
        s = {"type": "object", "properties": {n: self.schema(depth + 1) for n in names}}
        if self.r.random() < 0.7:
            s["required"] = [n for n in names if self.r.random() < 0.6]
        more = self.r.randrange(5)
        if more < 2:
            s["additionalProperties"] = False
        elif more == 2:
            s["additionalProperties"] = self.schema(depth + 1)
        return s

    def combined(self, depth):
        kind = self.r.randrange(4)
        if kind == 0:
            return {"anyOf": [self.schema(depth + 1) for _ in range(self.r.randrange(1, 4))]}
        if kind == 1:
            kinds = self.r.sample([self.integer, self.string, lambda: self.array(depth + 1), lambda: {"type": "null"}], 2)
            return {"oneOf": [k() for k in kinds]}
        if kind == 2:
            return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": self.schema(depth + 1)},
                               "required": ["kind", "v"]} for k in ["one", "two"]]}
        a, b = self.object(depth + 1), self.object(depth + 1)
        for s in [a, b]:  # one may require what the other forbids
            s.pop("additionalProperties", None)
        for n in set(a["properties"]) & set(b["properties"]):
            del b["properties"][n]
            b["required"] = [r for r in b.get("required", []) if r != n]
        return {"allOf": [a, b]}

    def schema(self, depth=0):
        if depth > 3:
            return self.r.choice([self.integer, self.string, self.number, lambda: {"type": "boolean"}])()
        kind = self.r.randrange(14)
        if kind < 4:
            return self.object(depth)
        if kind < 6:
            return self.array(depth)
        if kind == 6:
            return {"enum": [self.value() for _ in range(self.r.randrange(1, 5))]}
        if kind == 7:
            return {"const": self.value()}
        if kind == 8:
            return self.combined(depth)
        if kind == 9 and depth > 0:
            name = self.r.choice(["node", "leaf"])
            if name not in self.defs:
                self.defs[name] = {}  # a placeholder while the definition is generated
                self.defs[name] = {"type": "object", "properties": {"v": self.schema(depth + 1), "next": {
                    "anyOf": [{"$ref": "#/$defs/" + name}, {"type": "null"}]}}, "required": ["v", "next"]}
            return {"$ref": "#/$defs/" + name}
        if kind == 10:
            return {"type": ["string", "null", "integer"]}
        if kind == 11:
            return self.r.choice([{}, True, {"type": "object"}, {"type": "array"}]) if depth > 0 else self.object(depth)
        return [self.integer, self.number, self.string][self.r.randrange(3)]()

    def document(self):
        s = self.object(0) if self.r.random() < 0.7 else self.schema(0)
        if self.defs:
            s = {"$defs": self.defs, **s} if isinstance(s, dict) else s
        return s


def ajv_refuses(schemas, texts):
    """The numbers of the texts that ajv does not accept, or None without ajv."""
    program = """
const Ajv = require("ajv/dist/2020"), formats = require("ajv-formats");
const {schemas, texts} = JSON.parse(require("fs").readFileSync(0));
const ajv = new Ajv({strict: false, allErrors: false});
formats(ajv);
const checks = new Map();
console.log(JSON.stringify(texts.flatMap(([s, text], i) => {
  if (!checks.has(s)) checks.set(s, ajv.compile(schemas[s]));
  return checks.get(s)(JSON.parse(text)) ? [] : [[i, ajv.errorsText(checks.get(s).errors)]];
})));"""
    if subprocess.run(["node", "-e", "require('ajv/dist/2020'); require('ajv-formats')"], capture_output=True).returncode != 0:
        return None
    out = subprocess.run(["node", "-e", program], input=json.dumps({"schemas": schemas, "texts": texts}), text=True,
                         capture_output=True, check=True)
    return json.loads(out.stdout)


def invalid(schemas, texts):
    """Validates texts, each [number of its schema, text]. Returns [(validator, number of the text, reason)] for the
    invalid ones, and whether ajv was used."""
    wrong = []
    # its check of times refuses zones that lead to another day; ajv checks them correctly
    checker = jsonschema.FormatChecker([f for f in jsonschema.FormatChecker.checkers if f != "time"])
    for i, (number, text) in enumerate(texts):
        try:
            # all readers use the last of two equal names
            jsonschema.Draft202012Validator(schemas[number], format_checker=checker).validate(json.loads(text))
        except (jsonschema.ValidationError, json.JSONDecodeError) as e:
            wrong.append(("jsonschema", i, str(e).splitlines()[0]))
    ajv = ajv_refuses(schemas, texts)
    return wrong + [("ajv", i, why) for i, why in ajv or []], ajv is not None


def main():
    walk, vocabulary = sys.argv[1:3]
    count, seed, walks = (int(a) for a in (sys.argv[3:] + ["500", "1", "3"][len(sys.argv) - 3:]))
    schemas = [Maker(seed * 1000003 + i).document() for i in range(count)]
    lines = "".join(json.dumps({"schema": s}) + "\n" for s in schemas)
    out = subprocess.run([walk, vocabulary, str(walks), str(seed)], input=lines, text=True, capture_output=True, check=False)
    sys.stderr.write(out.stderr)
    answers = [json.loads(line) for line in out.stdout.splitlines()]
    if out.returncode != 0:
        sys.exit(f"grammar_walk ended with {out.returncode} after {len(answers)} lines")
    refused = [a for a in answers if "error" in a]
    texts = [a for a in answers if a.get("finished")]
    wrong, looked = invalid(schemas, [[a["schema"], a["text"]] for a in texts])
    for who, i, why in wrong:
        print(f"NOT VALID ({who})", json.dumps(schemas[texts[i]["schema"]])[:600], "\n ", texts[i]["text"][:300], "\n ", why)
    tokens = sum(a["tokens"] for a in answers if "tokens" in a)
    if tokens == 0:
        sys.exit("no tokens at all")
    print(f"{count} schemas, {len({a['schema'] for a in refused})} of them refused; {len(texts)} finished texts of "
          f"{len([a for a in answers if 'tokens' in a])}, {tokens} tokens; {len(wrong)} not valid"
          + ("" if looked else " (without ajv)"))
    for why in sorted({re.sub(r"\d+", "N", a["error"]) for a in refused}):
        print("  refused:", why)
    done = [a for a in answers if "tokens" in a]
    print(f"  mask: mean {sum(a['mask_ms'] * a['tokens'] for a in done) / tokens:.3f} ms, worst mean of a text "
          f"{max(a['mask_ms'] for a in done):.3f} ms, worst {max(a['worst_ms'] for a in done):.1f} ms; compile: mean "
          f"{sum(a['compile_ms'] for a in done) / len(done):.2f} ms, worst {max(a['compile_ms'] for a in done):.1f} ms")
    sys.exit(1 if wrong or not texts else 0)


if __name__ == "__main__":
    main()
