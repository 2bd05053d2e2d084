/* Uses the C interface: prints the likeliest first token, then the answer while it is generated.
 *   c_chat MODEL.gguf "a question" */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemma/c_api.h"

static int print_token(const gemma_token* token, void* user) {
  (void)user;
  return fwrite(token->text, 1, token->text_length, stdout) == token->text_length && fflush(stdout) == 0;
}

/* Returns the ids of the question in the model's chat template, to be freed by the caller, and sets *n to
 * their number. Returns NULL on failure. */
static int32_t* question_ids(const gemma_model* model, const char* question, size_t* n, gemma_error** error) {
  const gemma_message message = {"user", question};
  int32_t* ids;
  if (gemma_encode_chat(model, &message, 1, NULL, 0, n, error) != 0) return NULL;
  ids = malloc(*n * sizeof(int32_t));
  if (ids == NULL) return NULL;
  if (gemma_encode_chat(model, &message, 1, ids, *n, n, error) == 0) return ids;
  free(ids);
  return NULL;
}

/* Prints the likeliest next token and its logit. Returns 0, or -1 on failure. */
static int print_first_token(const gemma_model* model, gemma_session* session, gemma_error** error) {
  gemma_model_info info = GEMMA_MODEL_INFO_INIT;
  const float* logits = gemma_session_logits(session, error);
  char text[64];
  size_t i, length;
  int32_t best = 0;
  if (logits == NULL || gemma_model_get_info(model, &info, error) != 0) return -1;
  for (i = 1; i < info.vocab_size; ++i) {
    if (logits[i] > logits[best]) best = (int32_t)i;
  }
  if (gemma_decode(model, &best, 1, text, sizeof text, &length, error) != 0) return -1;
  if (length > sizeof text) length = sizeof text;
  printf("likeliest first token: %ld \"%.*s\", logit %.3f\n", (long)best, (int)length, text,
         (double)logits[best]);
  return 0;
}

static int answer(const gemma_model* model, gemma_session* session, const char* question,
                  gemma_error** error) {
  gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
  gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
  size_t n = 0;
  int32_t* ids = question_ids(model, question, &n, error);
  const int failed = ids == NULL || gemma_session_set_tokens(session, ids, n, NULL, error) != 0;
  free(ids);
  if (failed || print_first_token(model, session, error) != 0) return -1;

  options.max_tokens = 100;
  options.on_token = print_token;
  if (gemma_session_generate(session, NULL, &options, &result, error) != 0) return -1;
  printf("\n%lu tokens, %.1f tokens/s\n", (unsigned long)result.n_tokens,
         result.n_tokens == 0 ? 0.0 : (double)result.n_tokens / result.seconds);
  return 0;
}

int main(int argc, char** argv) {
  gemma_error* error = NULL;
  gemma_model* model;
  gemma_session* session = NULL;
  int failed = 1;
  if (argc != 3) {
    const int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(help ? stdout : stderr, "usage: c_chat MODEL.gguf \"a question\"\n");
    return !help || fflush(stdout) != 0;
  }
  model = gemma_model_load(argv[1], NULL, &error);
  if (model != NULL) session = gemma_session_new(model, NULL, &error);
  if (session != NULL) failed = answer(model, session, argv[2], &error) != 0;
  if (failed) fprintf(stderr, "c_chat: %s\n", gemma_error_get_message(error));
  if (!failed && (fflush(stdout) != 0 || ferror(stdout))) {
    fprintf(stderr, "c_chat: cannot write to standard output\n");
    failed = 1;
  }
  gemma_error_free(error);
  gemma_session_free(session);
  gemma_model_free(model);
  return failed;
}
