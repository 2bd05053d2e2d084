// JSON whose objects keep the order of their members.
#pragma once

#include <nlohmann/json.hpp>

namespace gemma::server {

using Json = nlohmann::ordered_json;

}  // namespace gemma::server
