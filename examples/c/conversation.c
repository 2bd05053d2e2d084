/* A conversation that reuses its cache: each answer is added with the ids that were generated, so that
 * nothing of the earlier turns is computed again for the next question.
 *   c_conversation MODEL.gguf "a question" ["another" ...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemma/c_api.h"

/* A generated answer: its text for the conversation, its ids for the cache. */
typedef struct answer {
  char* text;
  size_t length;
  int32_t* ids;
  size_t n_ids;
} answer;

/* Makes room for `n` more elements. Sizes are powers of two, so that appending is cheap. Returns 0 on
 * failure. */
static int reserve(void** items, size_t used, size_t n, size_t element) {
  size_t room = 64;
  void* grown;
  while (room < used + n) room *= 2;
  grown = realloc(*items, room * element);
  if (grown == NULL) return 0;
  *items = grown;
  return 1;
}

static int take_token(const gemma_token* token, void* user) {
  answer* said = user;
  void *text = said->text, *ids = said->ids;
  const int ok = reserve(&text, said->length, token->text_length + 1, 1) &&
                 reserve(&ids, said->n_ids, 1, sizeof(int32_t));
  said->text = text;
  said->ids = ids;
  if (!ok) return 0;
  memcpy(said->text + said->length, token->text, token->text_length + 1); /* with its NUL */
  said->length += token->text_length;
  if (token->id >= 0) said->ids[said->n_ids++] = token->id;
  return fwrite(token->text, 1, token->text_length, stdout) == token->text_length && fflush(stdout) == 0;
}

/* Returns the ids of the whole conversation, to be freed by the caller, and sets *n to their number. Returns
 * NULL on failure. */
static int32_t* conversation_ids(const gemma_conversation* chat, size_t* n, gemma_error** error) {
  int32_t* ids;
  if (gemma_conversation_encode(chat, 0, NULL, 0, n, error) != 0) return NULL;
  ids = malloc(*n * sizeof(int32_t));
  if (ids != NULL && gemma_conversation_encode(chat, 0, ids, *n, n, error) == 0) return ids;
  free(ids);
  return NULL;
}

/* Asks a question, prints the answer while it is generated, and adds both to the conversation. */
static int ask(gemma_conversation* chat, gemma_session* session, const char* question, gemma_error** error) {
  gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
  answer said = {NULL, 0, NULL, 0};
  size_t n = 0, n_reused = 0;
  int32_t* ids;
  int failed = gemma_conversation_add(chat, "user", question, NULL, 0, error) != 0;
  if (failed || (ids = conversation_ids(chat, &n, error)) == NULL) return -1;
  failed = gemma_session_set_tokens(session, ids, n, &n_reused, error) != 0;
  free(ids);

  options.max_tokens = 60;
  options.on_token = take_token;
  options.user = &said;
  failed = failed || gemma_session_generate(session, NULL, &options, NULL, error) != 0 ||
           gemma_conversation_add(chat, "assistant", said.text == NULL ? "" : said.text, said.ids, said.n_ids,
                                  error) != 0;
  if (!failed) {
    printf("\n[%lu of %lu tokens were there already]\n", (unsigned long)n_reused, (unsigned long)n);
  }
  free(said.text);
  free(said.ids);
  return failed ? -1 : 0;
}

int main(int argc, char** argv) {
  gemma_error* error = NULL;
  gemma_model* model;
  gemma_session* session = NULL;
  gemma_conversation* chat = NULL;
  int failed = 1, i;
  if (argc < 3) {
    const int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(help ? stdout : stderr, "usage: c_conversation MODEL.gguf \"a question\" [\"another\" ...]\n");
    return !help || fflush(stdout) != 0;
  }
  model = gemma_model_load(argv[1], NULL, &error);
  if (model != NULL) session = gemma_session_new(model, NULL, &error);
  if (session != NULL) chat = gemma_conversation_new(model, NULL, &error);
  if (chat != NULL) failed = 0;
  for (i = 2; i < argc && !failed; ++i) failed = ask(chat, session, argv[i], &error) != 0;
  if (failed)
    fprintf(stderr, "c_conversation: %s\n", error == NULL ? "no memory" : gemma_error_get_message(error));
  if (!failed && (fflush(stdout) != 0 || ferror(stdout))) {
    fprintf(stderr, "c_conversation: cannot write to standard output\n");
    failed = 1;
  }
  gemma_error_free(error);
  gemma_conversation_free(chat);
  gemma_session_free(session);
  gemma_model_free(model);
  return failed;
}
