"""LlamaCpp in LangChain's chains; skipped without langchain-core."""

import importlib.util
import unittest

import gemma_cpp
from model_file import MODEL


@unittest.skipUnless(importlib.util.find_spec("langchain_core"), "langchain-core is not installed")
class LangChain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from gemma_cpp.langchain import LlamaCpp

        cls.make = LlamaCpp
        cls.llm = LlamaCpp(model_path=MODEL, temperature=0.7, max_tokens=12, n_ctx=256, n_threads=1, n_gpu_layers=-1,
                           n_batch=512, top_p=0.95, verbose=False)

    def test_chains(self):
        from langchain_core.prompts import PromptTemplate

        chain = PromptTemplate(template="Q: {q}\nA:", input_variables=["q"]) | self.llm.bind(seed=3)
        said = chain.invoke({"q": "Where?"})
        self.assertEqual("".join(chain.stream({"q": "Where?"})), said)
        direct = gemma_cpp.Llama(MODEL, n_ctx=256, n_threads=1)
        same = direct("Q: Where?\nA:", max_tokens=12, temperature=0.7, top_p=0.95, top_k=40, min_p=0, repeat_penalty=1.1, seed=3)
        self.assertEqual(said, same["choices"][0]["text"])

    def test_callbacks_hear_what_is_said(self):
        from langchain_core.callbacks import BaseCallbackHandler, CallbackManager

        heard = []

        class Handler(BaseCallbackHandler):
            def on_llm_new_token(self, token, **_):
                heard.append(token)

        said = self.llm.invoke("The keeper", config={"callbacks": [Handler()]})
        self.assertEqual("".join(heard), said)
        heard.clear()
        said = self.make(model_path=MODEL, n_ctx=256, n_threads=1, max_tokens=4,
                         callback_manager=CallbackManager([Handler()])).invoke("The keeper")
        self.assertEqual("".join(heard), said)
        whole = self.make(model_path=MODEL, n_ctx=256, n_threads=1, max_tokens=4, streaming=False, seed=1)
        self.assertTrue(whole.invoke("The keeper"))

    def test_fields(self):
        self.assertEqual(self.llm.get_num_tokens("The"), 2)
        self.assertEqual(self.llm.invoke("x", stop=["a"]).count("a"), 0)
        yes = self.make(model_path=MODEL, n_ctx=256, n_threads=1, grammar='root ::= "yes"')
        self.assertEqual(yes.invoke("x"), "yes")
        for bad in ({"lora_path": "x"}, {"n_ctxx": 1}, {"model_kwargs": {"rope_freq_base": 3.0}}):
            with self.assertRaises(Exception, msg=str(bad)):
                self.make(model_path=MODEL, **bad)


if __name__ == "__main__":
    unittest.main()
