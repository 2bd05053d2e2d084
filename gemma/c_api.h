/** \file
 * The C interface: load a model, tokenise, chat, read logits, from C or any language that calls C.
 *
 * Invariants: no exception crosses it; every object is opaque and owned by whoever made it; no function
 * prints, ends the program or reads the environment.
 *
 * Errors. A function that can fail takes a gemma_error** last. NULL: the caller does not want to know more.
 * Otherwise, on failure, *error is set to an error that the caller frees with gemma_error_free(); on success
 * it is left alone, so set it to NULL first. Functions that make something return NULL on failure, functions
 * of type int return 0 on success and -1 on failure, unless they say otherwise.
 *
 * Lists of unknown length. Functions that fill `out` take its capacity and set *n to the length of the whole
 * result; when that is more than the capacity only the first `capacity` elements are written, which is not a
 * failure: call again with room for *n. `out` may be NULL when the capacity is 0.
 *
 * Threads. A gemma_model may be used by any number of threads at once, every other object by one thread at a
 * time, except where a function says otherwise. A model must live longer than what was made from it.
 *
 * Options. Begin with GEMMA_..._INIT and change fields; the first field is the size of the structure as the
 * caller was compiled, so that fields added at the end in later versions do not break it. Numbers are
 * tokens, bytes and seconds. Text is UTF-8, in and out.
 */
#ifndef GEMMA_C_API_H
#define GEMMA_C_API_H

#include <stddef.h>
#include <stdint.h>

/** Functions of the interface: a shared library shows them. */
#if defined(__GNUC__)
#define GEMMA_API __attribute__((visibility("default")))
#else
#define GEMMA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version and errors ---- */

/** The version of the library that runs, e.g. "0.2.0". Static. */
GEMMA_API const char* gemma_version(void);

/** Why a call failed. */
typedef struct gemma_error gemma_error;

/** Kinds of errors; numbers never change their meaning. */
typedef enum gemma_error_code {
  GEMMA_ERROR_IO = 1,                  /**< a file cannot be opened, mapped or read */
  GEMMA_ERROR_BAD_MAGIC = 2,           /**< not a GGUF file at all */
  GEMMA_ERROR_UNSUPPORTED_VERSION = 3, /**< GGUF, but of a version or byte order that is not read */
  GEMMA_ERROR_TRUNCATED = 4,           /**< the file ends before what its header promises */
  GEMMA_ERROR_MALFORMED = 5,           /**< structure that contradicts itself or the specification */
  GEMMA_ERROR_MISSING_KEY = 6,         /**< a required metadata key is absent */
  GEMMA_ERROR_WRONG_TYPE = 7,          /**< a metadata value of another type than asked for */
  GEMMA_ERROR_MISSING_TENSOR = 8,      /**< a required tensor is absent */
  GEMMA_ERROR_BAD_SHAPE = 9,           /**< a tensor's shape contradicts the metadata */
  GEMMA_ERROR_UNSUPPORTED = 10,        /**< valid, but not something this engine runs */
  GEMMA_ERROR_INVALID_ARGUMENT = 11,   /**< the caller's argument is out of range */
  GEMMA_ERROR_CONTEXT_FULL = 12,       /**< more positions asked for than the session holds */
  GEMMA_ERROR_OUT_OF_MEMORY = 13,      /**< an allocation failed or a memory cap would be exceeded */
  GEMMA_ERROR_CANCELLED = 14,          /**< gemma_session_cancel() */
  GEMMA_ERROR_NOT_FINITE = 15,         /**< the model computed a number that is not finite */
  GEMMA_ERROR_INTERNAL = 99            /**< anything else: a fault of the library */
} gemma_error_code;

/** One of gemma_error_code. */
GEMMA_API int gemma_error_get_code(const gemma_error* error);
/** One line that names the file, key or tensor. Lives as long as the error. */
GEMMA_API const char* gemma_error_get_message(const gemma_error* error);
/** NULL is allowed. */
GEMMA_API void gemma_error_free(gemma_error* error);

/* ---- models ---- */

/** A loaded model: a mapped file and its meaning. Immutable; safe to share between threads. */
typedef struct gemma_model gemma_model;

/** How to load a model. */
typedef struct gemma_model_options {
  size_t size; /**< sizeof(gemma_model_options) */
  /** kernels: "scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neoni8mm"; NULL: the best of this CPU */
  const char* isa;
  int64_t window; /**< sliding window in place of the file's; 0: none; -1: as the file says */
  /** LoRA adapters (GGUF files) for this model, all of them at once; the weights stay as they are */
  const char* const* adapters;
  size_t n_adapters;           /**< how many */
  const float* adapter_scales; /**< what each one's change is multiplied by; NULL: 1 */
} gemma_model_options;
/** Its defaults. */
#define GEMMA_MODEL_OPTIONS_INIT \
  { sizeof(gemma_model_options), NULL, -1, NULL, 0, NULL }

/** Maps and checks a GGUF file, and its adapters. options may be NULL. */
GEMMA_API gemma_model* gemma_model_load(const char* path, const gemma_model_options* options,
                                        gemma_error** error);
/** NULL is allowed. Sessions made from it must be gone. */
GEMMA_API void gemma_model_free(gemma_model* model);

/** Sizes of a model. */
typedef struct gemma_model_info {
  size_t size;            /**< sizeof(gemma_model_info) */
  size_t vocab_size;      /**< ids are 0 .. vocab_size - 1; logits are that many floats */
  size_t d_model;         /**< floats of a hidden state */
  size_t n_layers;        /**< decoder layers */
  size_t max_seq_len;     /**< trained context, tokens */
  size_t file_bytes;      /**< of the mapped file, without adapters */
  int32_t bos;            /**< id of the token that begins a text, or -1 */
  int32_t eos;            /**< id of the token that ends a text, or -1 */
  size_t embedding_width; /**< numbers of a text's embedding */
  int has_head;           /**< 0: the model produces text embeddings, not logits, and has no session */
} gemma_model_info;
/** Its defaults. */
#define GEMMA_MODEL_INFO_INIT \
  { sizeof(gemma_model_info), 0, 0, 0, 0, 0, -1, -1, 0, 1 }

/** Fills *info, whose size must be set. */
GEMMA_API int gemma_model_get_info(const gemma_model* model, gemma_model_info* info, gemma_error** error);
/** The name in the file, or "". Lives as long as the model. */
GEMMA_API const char* gemma_model_get_name(const gemma_model* model);
/** 1 when the token ends a turn or a text, else 0. */
GEMMA_API int gemma_model_is_end(const gemma_model* model, int32_t token);

/* ---- text and tokens ---- */

/** Flags of gemma_encode(), to be added. */
enum {
  GEMMA_ENCODE_BOS = 1,    /**< begin with the BOS token where the model wants one */
  GEMMA_ENCODE_SPECIAL = 2 /**< control tokens spelled in the text become their ids */
};

/** The ids of `length` bytes of text. */
GEMMA_API int gemma_encode(const gemma_model* model, const char* text, size_t length, int flags, int32_t* out,
                           size_t capacity, size_t* n, gemma_error** error);
/** The bytes of `n_ids` ids, not terminated by a NUL. Control tokens are left out. */
GEMMA_API int gemma_decode(const gemma_model* model, const int32_t* ids, size_t n_ids, char* out,
                           size_t capacity, size_t* n, gemma_error** error);

/** One turn of a conversation. */
typedef struct gemma_message {
  const char* role;    /**< "system", "user" or "assistant" */
  const char* content; /**< terminated by a NUL */
} gemma_message;

/** The ids of a conversation in the model's own turns, ending where the answer begins. A model without system
 * turns gets the system's text in front of the first user turn. */
GEMMA_API int gemma_encode_chat(const gemma_model* model, const gemma_message* messages, size_t n_messages,
                                int32_t* out, size_t capacity, size_t* n, gemma_error** error);

/** A conversation that grows: turns, and the ids of answers as they were generated. */
typedef struct gemma_conversation gemma_conversation;
/** An empty conversation in the model's own turns, or those of the name `chat_template` ("gemma", "llama3",
 * ...) where that is not NULL. */
GEMMA_API gemma_conversation* gemma_conversation_new(const gemma_model* model, const char* chat_template,
                                                     gemma_error** error);
/** NULL is allowed. */
GEMMA_API void gemma_conversation_free(gemma_conversation* conversation);
/** What a user should know about the choice of turns, or "" where they are known to be the model's. Lives as
 * long as the conversation. */
GEMMA_API const char* gemma_conversation_get_note(const gemma_conversation* conversation);
/** Turns. */
GEMMA_API size_t gemma_conversation_n_messages(const gemma_conversation* conversation);
/** Adds a turn. ids: of an answer, as they were generated, so that a session that holds them computes nothing
 * of it again; else NULL and 0. */
GEMMA_API int gemma_conversation_add(gemma_conversation* conversation, const char* role, const char* content,
                                     const int32_t* ids, size_t n_ids, gemma_error** error);
/** Forgets all but the first turns. */
GEMMA_API int gemma_conversation_truncate(gemma_conversation* conversation, size_t n_messages,
                                          gemma_error** error);
/** The ids of the conversation, ending where the answer begins. thinking: 1 asks a model that can to think
 * first. A model without system turns gets the system's text in front of the first user turn. */
GEMMA_API int gemma_conversation_encode(const gemma_conversation* conversation, int thinking, int32_t* out,
                                        size_t capacity, size_t* n, gemma_error** error);

/* ---- sessions ---- */

/** One sequence: its keys and values, tokens, and the logits after the last of them. */
typedef struct gemma_session gemma_session;

/** How keys and values are stored; numbers never change their meaning. */
typedef enum gemma_kv_type {
  GEMMA_KV_DEFAULT = 0, /**< 16-bit floats, unless kv_float32 says otherwise */
  GEMMA_KV_F16 = 1,     /**< 16-bit floats */
  GEMMA_KV_F32 = 2,     /**< 32-bit floats */
  GEMMA_KV_Q8 = 3       /**< 8-bit numbers in groups of 32 with a scale: 0.53 of the bytes of 16-bit floats */
} gemma_kv_type;

/** Where guesses of the next tokens come from, which are verified several in a pass; answers are the same
 * with and without. Numbers never change their meaning. */
typedef enum gemma_draft {
  GEMMA_DRAFT_OFF = 0,    /**< no guesses */
  GEMMA_DRAFT_LOOKUP = 1, /**< what followed in the sequence before */
  GEMMA_DRAFT_MODEL = 2   /**< draft_model, a smaller one of the same vocabulary */
} gemma_draft;

/** What a session is made of. */
typedef struct gemma_session_options {
  size_t size;         /**< sizeof(gemma_session_options) */
  size_t n_ctx;        /**< tokens it can hold; 0: the model's context, at most 8192, within max_memory */
  size_t chunk;        /**< tokens of a prompt computed in one pass; 0: 512. Does not change results */
  size_t logit_rows;   /**< tokens that gemma_session_score() computes at a time; 0: 1 */
  size_t max_memory;   /**< bytes that the file and this session may take together; 0: no limit */
  unsigned n_threads;  /**< 0: one for each physical core */
  int kv_float32;      /**< where kv_type is GEMMA_KV_DEFAULT: keys and values in 32 bits (1) or 16 (0) */
  int kv_type;         /**< one of gemma_kv_type */
  size_t draft_tokens; /**< guesses of one pass, 1 to 64; 0: 8 */
  const gemma_model* draft_model; /**< for GEMMA_DRAFT_MODEL; must live as long as the session */
  int draft;                      /**< one of gemma_draft */
} gemma_session_options;
/** Its defaults. */
#define GEMMA_SESSION_OPTIONS_INIT \
  { sizeof(gemma_session_options), 0, 0, 0, 0, 0, 0, GEMMA_KV_DEFAULT, 0, NULL, GEMMA_DRAFT_OFF }

/** What a session takes, in bytes. */
typedef struct gemma_memory_plan {
  size_t size;            /**< sizeof(gemma_memory_plan) */
  size_t file_bytes;      /**< mapped, adapters too; shared between sessions and processes */
  size_t kv_bytes;        /**< keys and values */
  size_t workspace_bytes; /**< buffers of a pass */
  size_t token_bytes;     /**< the list of tokens */
  size_t n_ctx;           /**< the context that this is the plan of */
  size_t draft_bytes;     /**< what guesses are made with; of a model with its file */
} gemma_memory_plan;
/** Its defaults. */
#define GEMMA_MEMORY_PLAN_INIT \
  { sizeof(gemma_memory_plan), 0, 0, 0, 0, 0, 0 }

/** What a session of these options (NULL: the defaults) would take, without making it. Fails when max_memory
 * does not allow it; the message names the largest context that fits. */
GEMMA_API int gemma_model_plan(const gemma_model* model, const gemma_session_options* options,
                               gemma_memory_plan* plan, gemma_error** error);

/** Takes all memory that the session will need. options may be NULL. */
GEMMA_API gemma_session* gemma_session_new(const gemma_model* model, const gemma_session_options* options,
                                           gemma_error** error);
/** NULL is allowed. */
GEMMA_API void gemma_session_free(gemma_session* session);

/** Makes the sequence equal to `ids`: what it already begins with is kept, the rest is computed. n_reused,
 * when not NULL, gets the number of tokens that were kept. */
GEMMA_API int gemma_session_set_tokens(gemma_session* session, const int32_t* ids, size_t n_ids,
                                       size_t* n_reused, gemma_error** error);
/** gemma_session_set_tokens() by its name of version 0.1. */
GEMMA_API int gemma_session_prefill(gemma_session* session, const int32_t* ids, size_t n_ids,
                                    size_t* n_reused, gemma_error** error);
/** Adds tokens to the sequence. */
GEMMA_API int gemma_session_append(gemma_session* session, const int32_t* ids, size_t n_ids,
                                   gemma_error** error);
/** Forgets all but the first n tokens. Fails when a sliding window no longer has what that needs. */
GEMMA_API int gemma_session_truncate(gemma_session* session, size_t n, gemma_error** error);
/** Tokens in the sequence. */
GEMMA_API size_t gemma_session_n_past(const gemma_session* session);
/** Tokens it can hold. */
GEMMA_API size_t gemma_session_n_ctx(const gemma_session* session);
/** The sequence itself. A token that a generation left waiting (it ended by max_tokens) is part of it. */
GEMMA_API int gemma_session_get_tokens(const gemma_session* session, int32_t* out, size_t capacity, size_t* n,
                                       gemma_error** error);

/** Logits after the last token, vocab_size floats, valid until the next call that changes the sequence. A
 * token that a generation left waiting (it ended by max_tokens) is computed. NULL on failure: there is no
 * token yet. */
GEMMA_API const float* gemma_session_logits(const gemma_session* session, gemma_error** error);
/** The final hidden state of the last token after the output norm, d_model floats; valid as the logits. */
GEMMA_API const float* gemma_session_hidden_state(const gemma_session* session, gemma_error** error);
/** out[i]: natural logarithm of the probability of ids[i] after the sequence and ids[0 .. i). The ids join
 * the sequence. */
GEMMA_API int gemma_session_score(gemma_session* session, const int32_t* ids, size_t n_ids, double* out,
                                  gemma_error** error);

/** From any thread, also while another call runs: that call, and later ones, stop as soon as they can. */
GEMMA_API void gemma_session_cancel(gemma_session* session);
/** Lets the session work again. */
GEMMA_API void gemma_session_clear_cancel(gemma_session* session);

/** A copy of a session's sequence. Immutable; safe to share between threads. */
typedef struct gemma_snapshot gemma_snapshot;
/** Copies the sequence as it is. */
GEMMA_API gemma_snapshot* gemma_session_snapshot(const gemma_session* session, gemma_error** error);
/** Makes the sequence that of the snapshot, taken from a session of the same model and options. */
GEMMA_API int gemma_session_restore(gemma_session* session, const gemma_snapshot* snapshot,
                                    gemma_error** error);
/** The snapshot as bytes, for a file. model: the session's. */
GEMMA_API int gemma_snapshot_write(const gemma_snapshot* snapshot, const gemma_model* model, void* out,
                                   size_t capacity, size_t* n, gemma_error** error);
/** The snapshot that gemma_snapshot_write() made, for a session of the same model and type of keys and
 * values, also of another context. Fails for bytes that are damaged, cut, or another model's. */
GEMMA_API gemma_snapshot* gemma_snapshot_read(const gemma_session* session, const void* bytes, size_t size,
                                              gemma_error** error);
/** NULL is allowed. */
GEMMA_API void gemma_snapshot_free(gemma_snapshot* snapshot);

/* ---- generation ---- */

/** How the next token is chosen. */
typedef struct gemma_sampler_options {
  size_t size;          /**< sizeof(gemma_sampler_options) */
  float temperature;    /**< 0: the likeliest token */
  size_t top_k;         /**< keep the k likeliest; 0: all */
  float top_p;          /**< keep the smallest set of at least this probability; 1: all */
  float min_p;          /**< keep tokens of at least min_p times the likeliest one's probability; 0: all */
  float repeat_penalty; /**< divide logits of recent tokens; 1: none */
  size_t repeat_last;   /**< how many recent tokens that means */
  uint64_t seed;        /**< the same seed, options and logits give the same tokens everywhere */
} gemma_sampler_options;
/** Its defaults. */
#define GEMMA_SAMPLER_OPTIONS_INIT \
  { sizeof(gemma_sampler_options), 0.0f, 0, 1.0f, 0.0f, 1.0f, 64, 0 }

/** Draws tokens. */
typedef struct gemma_sampler gemma_sampler;
/** options may be NULL: the likeliest token. */
GEMMA_API gemma_sampler* gemma_sampler_new(const gemma_sampler_options* options, gemma_error** error);
/** NULL is allowed. */
GEMMA_API void gemma_sampler_free(gemma_sampler* sampler);
/** The next token given `n` logits; -1 on failure. */
GEMMA_API int32_t gemma_sampler_sample(gemma_sampler* sampler, const float* logits, size_t n,
                                       gemma_error** error);
/** A token that the repeat penalty is to know of. It knows the tokens that the sampler chooses, and those
 * that a session holds when a generation begins.
 */
GEMMA_API int gemma_sampler_note(gemma_sampler* sampler, int32_t token, gemma_error** error);

/** A token and its probability. */
typedef struct gemma_token_probability {
  int32_t id;             /**< the token */
  double log_probability; /**< natural logarithm, at temperature 1, by the logits alone */
} gemma_token_probability;
/** The `capacity` likeliest of n tokens by their logits, likeliest first, the smaller id of equals. *n_top
 * gets how many were written: `capacity`, or n where that is less. */
GEMMA_API int gemma_top_log_probabilities(const float* logits, size_t n, gemma_token_probability* out,
                                          size_t capacity, size_t* n_top, gemma_error** error);

/** What texts an answer may be: a grammar, for the vocabulary of a model. Immutable; safe to share between
 * threads. */
typedef struct gemma_grammar gemma_grammar;
/** How a grammar is written; numbers never change their meaning. */
typedef enum gemma_grammar_kind {
  GEMMA_GRAMMAR_GBNF = 0,        /**< llama.cpp's notation; it begins at the rule "root" */
  GEMMA_GRAMMAR_JSON_SCHEMA = 1, /**< the JSON values that a schema takes */
  GEMMA_GRAMMAR_JSON_OBJECT = 2  /**< any JSON object; there is no text */
} gemma_grammar_kind;
/** Compiles `length` bytes of text, for sessions and schedulers of this model; it may outlive the model. The
 * first grammar of a model reads its vocabulary (0.2 s and 14 MB for 262,144 pieces). What a schema asks for
 * and cannot be kept is an error. */
GEMMA_API gemma_grammar* gemma_grammar_new(const gemma_model* model, int kind, const char* text,
                                           size_t length, gemma_error** error);
/** NULL is allowed. Generations that were begun with it go on. */
GEMMA_API void gemma_grammar_free(gemma_grammar* grammar);
/** 1 when `length` bytes of text are one of the grammar's texts, 0 when not, -1 on failure. */
GEMMA_API int gemma_grammar_matches(const gemma_grammar* grammar, const char* text, size_t length,
                                    gemma_error** error);

/** One step of a generation. */
typedef struct gemma_token {
  int32_t id;             /**< -1: only brings out text that had been held back */
  const char* text;       /**< whole characters, NUL after them; often ""; valid during the callback */
  size_t text_length;     /**< bytes of text */
  double log_probability; /**< natural logarithm of its probability, when asked for, else 0 */
} gemma_token;

/** Called with each token; return 1 to go on, 0 to stop. */
typedef int (*gemma_token_callback)(const gemma_token* token, void* user);
/** Chooses the next token from vocab_size logits in place of a sampler; a negative id fails the generation.
 */
typedef int32_t (*gemma_pick_callback)(const float* logits, size_t n, void* user);
/** Changes a sequence's own copy of its logits before a token is chosen: biases, penalties, masks (-infinity
 * forbids a token). tokens: the sequence so far. */
typedef void (*gemma_process_callback)(float* logits, size_t n, const int32_t* tokens, size_t n_tokens,
                                       void* user);

/** Why a generation ended. */
typedef enum gemma_stop_reason {
  GEMMA_STOP_END_OF_TURN = 0,  /**< the model said so */
  GEMMA_STOP_STRING = 1,       /**< one of the stop strings */
  GEMMA_STOP_MAX_TOKENS = 2,   /**< max_tokens */
  GEMMA_STOP_CONTEXT_FULL = 3, /**< the session holds no further token */
  GEMMA_STOP_CALLBACK = 4,     /**< the callback returned 0 */
  GEMMA_STOP_CANCELLED = 5     /**< gemma_session_cancel() */
} gemma_stop_reason;

/** What to generate. */
typedef struct gemma_generate_options {
  size_t size;                     /**< sizeof(gemma_generate_options) */
  size_t max_tokens;               /**< at most so many */
  const char* const* stop_strings; /**< generation ends before the first of these */
  size_t n_stop_strings;           /**< how many */
  int ignore_end;                  /**< 1: go on past end-of-turn tokens */
  int log_probabilities;           /**< 1: fill gemma_token.log_probability */
  gemma_token_callback on_token;   /**< NULL: none */
  gemma_pick_callback pick;        /**< NULL: the sampler */
  void* user;                      /**< handed to all callbacks */
  gemma_process_callback process;  /**< NULL: none */
  const gemma_grammar* grammar; /**< what the answer may be, for a sampler (not for `pick`); NULL: any text */
  int no_draft;                 /**< 1: no guesses, whatever the session or scheduler was made with */
} gemma_generate_options;
/** Its defaults. */
#define GEMMA_GENERATE_OPTIONS_INIT \
  { sizeof(gemma_generate_options), 512, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 0 }

/** How a generation went. */
typedef struct gemma_generate_result {
  size_t size;                /**< sizeof(gemma_generate_result) */
  size_t n_tokens;            /**< generated, without the one that ended the turn */
  int reason;                 /**< one of gemma_stop_reason */
  double seconds;             /**< from the call to its return */
  double first_token_seconds; /**< from the call to the first token */
  size_t n_steps;             /**< passes that computed tokens of the answer */
  size_t n_drafted;           /**< guesses that these passes computed */
  size_t n_accepted;          /**< guesses that were chosen */
} gemma_generate_result;
/** Its defaults. */
#define GEMMA_GENERATE_RESULT_INIT \
  { sizeof(gemma_generate_result), 0, 0, 0.0, 0.0, 0, 0, 0 }

/** Chooses tokens after the sequence until something ends it; they join the sequence. sampler may be NULL
 * when options->pick is set, or for the likeliest token; result may be NULL. */
GEMMA_API int gemma_session_generate(gemma_session* session, gemma_sampler* sampler,
                                     const gemma_generate_options* options, gemma_generate_result* result,
                                     gemma_error** error);

/** gemma_session_generate() one step at a time, at the caller's pace. */
typedef struct gemma_stream gemma_stream;
/** Begins a generation; nothing is computed yet. Until the stream has ended or is freed the session is used
 * for nothing else (gemma_session_cancel() may be called). The session and the sampler must live longer. */
GEMMA_API gemma_stream* gemma_session_stream(gemma_session* session, gemma_sampler* sampler,
                                             const gemma_generate_options* options, gemma_error** error);
/** The next token: GEMMA_ANSWER_TOKEN, GEMMA_ANSWER_END, or -1 on failure, after which the stream has ended.
 * token->text is valid until the next call. */
GEMMA_API int gemma_stream_next(gemma_stream* stream, gemma_token* token, gemma_error** error);
/** How the generation went up to now; the reason and the seconds are final after its end. */
GEMMA_API int gemma_stream_get_result(const gemma_stream* stream, gemma_generate_result* result,
                                      gemma_error** error);
/** Ends the generation where it is not done; what was generated stays in the sequence, except for the last
 * token. NULL is allowed. */
GEMMA_API void gemma_stream_free(gemma_stream* stream);

/* ---- many sequences ---- */

/** Runs many requests together, in a thread of its own; any number of threads may use it. */
typedef struct gemma_scheduler gemma_scheduler;
/** What it is made of. */
typedef struct gemma_scheduler_options {
  size_t size;          /**< sizeof(gemma_scheduler_options) */
  size_t max_sequences; /**< requests that run at one time; 0: 8 */
  size_t n_ctx;         /**< tokens of each; 0: as in gemma_session_options */
  size_t chunk;         /**< tokens of one pass, all requests together; 0: 512. Does not change results */
  size_t max_memory;    /**< bytes that the file and the scheduler may take together; 0: no limit */
  size_t max_queue;     /**< requests that may wait; 0: 4096 */
  unsigned n_threads;   /**< that compute; 0: one for each physical core */
  int kv_type;          /**< one of gemma_kv_type */
  size_t draft_tokens;  /**< guesses for one request in one pass, 1 to 64; 0: 8 */
  const gemma_model* draft_model; /**< for GEMMA_DRAFT_MODEL; must live as long as the scheduler */
  int draft;                      /**< one of gemma_draft */
} gemma_scheduler_options;
/** Its defaults. */
#define GEMMA_SCHEDULER_OPTIONS_INIT \
  { sizeof(gemma_scheduler_options), 0, 0, 0, 0, 0, 0, GEMMA_KV_DEFAULT, 0, NULL, GEMMA_DRAFT_OFF }

/** Reserves its memory and starts its thread. options may be NULL. */
GEMMA_API gemma_scheduler* gemma_scheduler_new(const gemma_model* model,
                                               const gemma_scheduler_options* options, gemma_error** error);
/** Cancels all requests; their answers stay valid. NULL is allowed. */
GEMMA_API void gemma_scheduler_free(gemma_scheduler* scheduler);

/** The answer to a request; any thread may use it. */
typedef struct gemma_answer gemma_answer;
/** A request joins the queue. What it begins with in common with others is computed once. sampler and options
 * may be NULL. Callbacks of the options are called by the scheduler's thread and hold up all requests. */
GEMMA_API gemma_answer* gemma_scheduler_submit(gemma_scheduler* scheduler, const int32_t* ids, size_t n_ids,
                                               const gemma_sampler_options* sampler,
                                               const gemma_generate_options* options, gemma_error** error);
/** What gemma_answer_next() and gemma_stream_next() return, or -1 on failure. */
enum {
  GEMMA_ANSWER_END = 0,    /**< there is no further token */
  GEMMA_ANSWER_TOKEN = 1,  /**< *token is the next */
  GEMMA_ANSWER_TIMEOUT = 2 /**< there was none in time */
};
/** Waits for the next token, for at most timeout_ms milliseconds; -1: without limit. token->text is valid
 * until the next call. */
GEMMA_API int gemma_answer_next(gemma_answer* answer, gemma_token* token, int64_t timeout_ms,
                                gemma_error** error);
/** Waits for the end; tokens that were not taken are dropped. result may be NULL. */
GEMMA_API int gemma_answer_wait(gemma_answer* answer, gemma_generate_result* result, gemma_error** error);
/** The request ends as soon as it can. */
GEMMA_API void gemma_answer_cancel(gemma_answer* answer);
/** Cancels the request where it is not done. NULL is allowed. */
GEMMA_API void gemma_answer_free(gemma_answer* answer);

/* ---- embeddings ---- */

/** A text of `length` bytes. */
typedef struct gemma_text {
  const char* text; /**< need not end with a NUL; NULL where length is 0 */
  size_t length;    /**< bytes */
} gemma_text;

/** What is put before a text, for models that were trained with it (EmbeddingGemma). */
typedef enum gemma_embed_prompt {
  GEMMA_EMBED_PLAIN = 0,   /**< nothing */
  GEMMA_EMBED_QUERY = 1,   /**< the text searches */
  GEMMA_EMBED_DOCUMENT = 2 /**< the text is found */
} gemma_embed_prompt;

/** How the final hidden states of tokens become one vector. */
typedef enum gemma_pooling {
  GEMMA_POOLING_OF_MODEL = 0, /**< what the model was trained for; the last token's for generating models */
  GEMMA_POOLING_MEAN = 1,     /**< their mean */
  GEMMA_POOLING_FIRST = 2,    /**< the first token's; only for models that look ahead */
  GEMMA_POOLING_LAST = 3      /**< the last token's */
} gemma_pooling;

/** How texts are embedded. */
typedef struct gemma_embed_options {
  size_t size;        /**< sizeof(gemma_embed_options) */
  size_t n_ctx;       /**< tokens that a text may have; 0: the model's context, at most 8192 */
  size_t chunk;       /**< tokens of one pass, all texts together; 0: 512. Does not change results */
  size_t dims;        /**< the first numbers of each embedding, of length 1 again; 0: all */
  size_t max_memory;  /**< bytes that the file and this call may take together; 0: no limit */
  unsigned n_threads; /**< 0: one for each physical core */
  int prompt;         /**< one of gemma_embed_prompt */
  int pooling;        /**< one of gemma_pooling */
  int truncate;       /**< 1: of a text that is too long only the beginning counts; 0: it is an error */
} gemma_embed_options;
/** Its defaults. */
#define GEMMA_EMBED_OPTIONS_INIT \
  { sizeof(gemma_embed_options), 0, 0, 0, 0, 0, GEMMA_EMBED_PLAIN, GEMMA_POOLING_OF_MODEL, 0 }

/** One vector of length 1 for each text, text after text: *n = n_texts * (dims, or the model's
 * embedding_width) floats. When `capacity` is less, nothing is computed and nothing written; call again with
 * room for *n. The bits of a vector do not depend on the other texts or on the number of threads. Any number
 * of threads may call it for one model. options may be NULL. */
GEMMA_API int gemma_embed(const gemma_model* model, const gemma_text* texts, size_t n_texts,
                          const gemma_embed_options* options, float* out, size_t capacity, size_t* n,
                          gemma_error** error);

#ifdef __cplusplus
}
#endif

#endif
