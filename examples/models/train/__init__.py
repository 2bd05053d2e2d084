"""Trains, quantises, exports and checks the three demo models: gemma-demo, llama-demo, mistral-demo.

Each is a from-scratch causal transformer of a few million parameters, taught extractive reading
comprehension on a slice of the SQuAD v1.1 *training* set only. They exist so that the engine and the
SQuAD evaluator can be shown end to end without downloading published weights; they are toys.

How they learn to find and copy a span from so little text:

* several questions share one context in a training sequence: the attention mask lets each see the context
  and itself only, and positions restart after the context, so every one looks as if it were alone
  (sequences.py, batches.py);
* besides the real questions, fill-in questions are made from the training contexts: a number, a name or a
  noun chunk is taken out of a sentence, the rest is shuffled and thinned into a question (cloze.py); and
  there are short templated facts about invented names, and drills of random words (facts.py, recall.py);
* names and numbers are replaced, consistently in context, question and answer, so that reading beats
recall
  (substitution.py);
* contexts grow from one sentence to whole paragraphs (curriculum.py);
* the weights start near circuits that copying and matching need (structured_init.py);
* one attention head in each of the last two layers is told during training where the answer stands
  (model.py, training.py: the pointer loss).

None of this changes the architecture: the exported files are ordinary gemma and llama models.
"""
