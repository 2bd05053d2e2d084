"""Trains, quantises, exports and checks the three demo models: gemma-demo, llama-demo, mistral-demo.

Each is a from-scratch causal transformer of a few million parameters, taught extractive reading
comprehension on a slice of the SQuAD v1.1 *training* set only. They exist so that the engine and the
SQuAD evaluator can be shown end to end without downloading published weights; they are toys.

How they learn to find and copy a span from so little text:

* several questions share one context in a training sequence: the attention mask lets each see only the
  context and itself, and positions restart after the context, as if each question were the only one
  (sequences.py, batches.py);
* besides the real questions, fill-in questions are made from the training contexts: a number, a name or a
  noun chunk is removed from a sentence, and some of the other words, rearranged, form a question
  (cloze.py); further examples are short templated facts about invented names, and drills with random words
  (facts.py, recall.py);
* names and numbers are replaced, consistently in context, question and answer, so that a model must read
  the context instead of recalling facts (substitution.py);
* contexts grow from one sentence to whole paragraphs (curriculum.py);
* the weights are initialised near circuits for copying and matching (structured_init.py);
* one attention head in each of the last two layers is trained to attend to the answer in the context
  (model.py, training.py: the pointer loss).

None of this changes the architecture: the exported files are ordinary gemma and llama models.
"""
