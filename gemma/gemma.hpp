// The one include for users of the library.
#pragma once

#include "../kernels/kernel_table.hpp"
#include "../tokenizer/chat_template.hpp"
#include "../tokenizer/tokenizer.hpp"
#include "batch.hpp"
#include "conversation.hpp"
#include "embedder.hpp"
#include "generation.hpp"
#include "log_probability.hpp"
#include "model.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "sampler.hpp"
#include "scheduler.hpp"
#include "session.hpp"
#include "session_file.hpp"
#include "version.hpp"
