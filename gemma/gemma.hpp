// The one include for users of the library.
#pragma once

#include "../kernels/encoder.hpp"
#include "../kernels/kernel_table.hpp"
#include "../tokenizer/chat_template.hpp"
#include "../tokenizer/tokenizer.hpp"
#include "batch.hpp"
#include "embedder.hpp"
#include "generation.hpp"
#include "importance_meter.hpp"
#include "importances.hpp"
#include "log_probability.hpp"
#include "model.hpp"
#include "quantizer.hpp"
#include "sampler.hpp"
#include "session.hpp"
#include "text_windows.hpp"
#include "version.hpp"
