#include "examples/chat/conversation_json.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "gemma/session_file.hpp"

namespace gemma::app {
namespace {

// format of a /save-session file: this line, the length of the JSON text (8 bytes, little-endian), the text,
// the sequence
constexpr std::string_view kMagic = "gemma-chat session 1\n";

}  // namespace

std::string to_json(const Conversation& conversation) {
  nlohmann::ordered_json out;
  out["model"] = conversation.session().model().config().name;
  out["system"] = conversation.system();
  out["messages"] = nlohmann::ordered_json::array();
  for (const Message& m : conversation.messages()) {
    out["messages"].push_back({{"role", m.role}, {"content", m.content}});
    if (!m.ids.empty()) out["messages"].back()["ids"] = m.ids;
  }
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void from_json(const std::string& text, const std::string& source, Conversation& conversation) {
  std::vector<Message> messages;
  std::string system;
  try {
    const auto in = nlohmann::json::parse(text);
    system = in.value("system", "");
    for (const auto& m : in.at("messages")) {
      messages.push_back({m.at("role"), m.at("content"), m.value("ids", std::vector<TokenId>())});
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::kMalformed, source + ": not a saved conversation");
  }
  try {
    conversation.set_messages(std::move(messages));
  } catch (const Error& e) {
    throw Error(ErrorCode::kMalformed, source + ": " + std::string(e.message()));
  }
  conversation.set_system(std::move(system));
}

std::string to_session_file(const Conversation& conversation) {
  const std::string text = to_json(conversation);
  const std::uint64_t size = text.size();
  std::string out(kMagic);
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += text;
  const Session& session = conversation.session();
  write_snapshot(session.snapshot(), session.model(), [&out](std::span<const std::byte> bytes) {
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
  return out;
}

void from_session_file(const std::string& bytes, const std::string& source, Conversation& conversation) {
  std::uint64_t size = 0;
  const std::size_t head = kMagic.size() + sizeof size;
  if (!bytes.starts_with(kMagic) || bytes.size() < head) {
    throw Error(ErrorCode::kMalformed, source + ": not a saved session");
  }
  std::memcpy(&size, bytes.data() + kMagic.size(), sizeof size);
  if (size > bytes.size() - head) throw Error(ErrorCode::kMalformed, source + ": it is cut short");
  Session& session = conversation.session();
  const std::span<const char> rest(bytes.data() + head + size, bytes.size() - head - size);
  const Snapshot snapshot = read_snapshot(std::as_bytes(rest), session.model(), session.kv_options(), source);
  from_json(bytes.substr(head, size), source, conversation);
  session.restore(snapshot);
}

}  // namespace gemma::app
