// The conversations of the C interface: turns, and the ids of answers.
#include <string>
#include <utility>
#include <vector>

#include "../tokenizer/chat_template.hpp"
#include "c_api.h"
#include "c_guard.hpp"

struct gemma_conversation {
  gemma::Model model;
  gemma::ChatTemplate chat;
  std::vector<gemma::Message> messages;
};

using namespace gemma;
using namespace gemma::c_api;

gemma_conversation* gemma_conversation_new(const gemma_model* model, const char* chat_template,
                                           gemma_error** error) {
  return guarded<gemma_conversation*>(error, nullptr, [&] {
    require(model != nullptr, "the model is NULL");
    ChatTemplate chat =
        ChatTemplate::from(model->model.vocab(), chat_template == nullptr ? "" : chat_template);
    return new gemma_conversation{model->model, std::move(chat), {}};
  });
}
void gemma_conversation_free(gemma_conversation* conversation) {
  delete conversation;
}

const char* gemma_conversation_get_note(const gemma_conversation* conversation) {
  return conversation == nullptr ? "" : conversation->chat.note().c_str();
}
size_t gemma_conversation_n_messages(const gemma_conversation* conversation) {
  return conversation == nullptr ? 0 : conversation->messages.size();
}

int gemma_conversation_add(gemma_conversation* conversation, const char* role, const char* content,
                           const int32_t* ids, size_t n_ids, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(conversation != nullptr, "the conversation is NULL");
    require(role != nullptr && content != nullptr, "a message's role or content is NULL");
    const auto given = list(ids, n_ids);
    for (const int32_t id : given) conversation->model.check_token(id);
    Message message{role, content};
    message.ids.assign(given.begin(), given.end());
    conversation->messages.push_back(std::move(message));
    return 0;
  });
}

int gemma_conversation_truncate(gemma_conversation* conversation, size_t n_messages, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(conversation != nullptr, "the conversation is NULL");
    require(n_messages <= conversation->messages.size(), "n_messages is larger than the number of messages");
    conversation->messages.resize(n_messages);
    return 0;
  });
}

int gemma_conversation_encode(const gemma_conversation* conversation, int thinking, int32_t* out,
                              size_t capacity, size_t* n, gemma_error** error) {
  return guarded(error, -1, [&] {
    require(conversation != nullptr, "the conversation is NULL");
    const ChatOptions options{
        .add_generation_prompt = true, .merge_system = true, .thinking = thinking != 0, .tools = {}};
    return give_list(
        conversation->chat.encode(conversation->model.tokenizer(), conversation->messages, options), out,
        capacity, n);
  });
}
