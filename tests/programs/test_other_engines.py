"""Files of other engines: notes appear on standard error, never in an answer; files that are not models are named."""

import json
import unittest

from programs import SOURCE, ProgramTest, run

NANO = SOURCE / "tests/golden/models/nano-gemma3.F32.gguf"
IDS = "2,5,9,7,30,50,6,4"


def renamed(file, *names):
    """The bytes of a file in which keys or texts are replaced by others of the same length."""
    data = file.read_bytes()
    for old, new in names:
        assert len(old) == len(new) and data.count(old.encode()) == 1, old
        data = data.replace(old.encode(), new.encode())
    return data


class OtherEngines(ProgramTest):
    def setUp(self):
        super().setUp()
        without_epsilon = renamed(NANO, ("attention.layer_norm_rms_epsilon", "attention.layer_norm_rms_epsilxx"))
        self.blob = self.write("sha256-0123456789abcdef", without_epsilon)  # no extension
        self.note = "note: key 'gemma3.attention.layer_norm_rms_epsilon' is missing: the family's value 0.000001 is used"

    def noted(self, program, *arguments, **options):
        """The standard output of a run that succeeds, with the note as the only line on standard error."""
        status, out, err = run(program, *arguments, **options)
        self.assertEqual(status, 0, err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertIn(self.note, err)
        return out

    def test_logits(self):
        files = [self.folder / name for name in ("whole.f32", "blob.f32")]
        self.succeeds("gemma-logits", "-m", str(NANO), "--tokens", IDS, "--out", str(files[0]))
        self.noted("gemma-logits", "-m", self.blob, "--tokens", IDS, "--out", str(files[1]))
        self.assertEqual(files[0].read_bytes(), files[1].read_bytes())

    def test_chat(self):
        flags = ["--temp", "0", "-n", "8"]
        plain = self.succeeds("gemma-chat", "-m", str(NANO), *flags, stdin="Hello\n")
        self.assertEqual(self.noted("gemma-chat", "-m", self.blob, *flags, stdin="Hello\n"), plain)
        answer = json.loads(self.noted("gemma-chat", "-m", self.blob, *flags, "--json", stdin="Hello\n"))
        self.assertNotIn("epsilon", json.dumps(answer))

    def test_info(self):
        self.assertIn("\n" + self.note, self.succeeds("gguf-info", self.blob))
        self.assertEqual(len(json.loads(self.succeeds("gguf-info", "--json", self.blob))["notes"]), 1)
        self.assertNotIn("note: ", self.succeeds("gguf-info", str(NANO)))

    def test_tokenize_has_nothing_to_say_of_it(self):
        self.succeeds("gemma-tokenize", "-m", self.blob, stdin='{"text": "a"}\n')

    def test_a_projector_is_told_for_one(self):
        def text(value):  # a text as stored in GGUF
            return len(value).to_bytes(8, "little") + value.encode()

        data = NANO.read_bytes()
        # the name gets the two bytes that the architecture loses, so offsets stay the same
        for old, new in [("gemma3", "clip"), ("synthetic nano-gemma3", "synthetic nano-gemma3 +")]:
            data = data.replace(text(old), text(new), 1)
        clip = self.write("mmproj.gguf", data)
        says = "mmproj.gguf: this is a projector for images or sound (mmproj), not a model: "
        self.refuses("gemma-logits", "-m", clip, "--tokens", "1", "--out", str(self.folder / "x"), says=says)
        self.refuses("gemma-chat", "-m", clip, "-p", "Hello", says=says)
        self.assertIn("\nnote: this is a projector", self.succeeds("gguf-info", clip))


if __name__ == "__main__":
    unittest.main()
