// The one include for users of the library.
#pragma once

#include "gemma/batch.hpp"
#include "gemma/generation.hpp"
#include "gemma/log_probability.hpp"
#include "gemma/model.hpp"
#include "gemma/sampler.hpp"
#include "gemma/session.hpp"
#include "gemma/version.hpp"
#include "kernels/kernel_table.hpp"
#include "tokenizer/chat_template.hpp"
#include "tokenizer/tokenizer.hpp"
