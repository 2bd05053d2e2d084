// Names and settings of each architecture, as data. Sources: the published configurations and the tensor
// names of the Python package gguf.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "examples/convert/settings.hpp"

namespace gemma::convert {

struct Name {
  std::string_view from, to;  // {} stands for the layer's number
};
// names that all architectures use
inline constexpr Name kCommon[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
    {"model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
    {"model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
    {"model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
    {"model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
    {"model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight"},
    {"model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight"},
    {"model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
};
// norms before attention and the feed-forward block
inline constexpr Name kPlainNorms[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
};
// norms before and after both blocks
inline constexpr Name kFourNorms[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight"},
    {"model.layers.{}.pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {"model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"},
    {"model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
    {"model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"},
};
// per-layer inputs, experts, layer scales; attention_k_eq_v layers have no v
inline constexpr Name kGemma4Names[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight"},
    {"model.layers.{}.pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {"model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"},
    {"model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
    {"model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"},
    {"model.embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
    {"model.per_layer_model_projection.weight", "per_layer_model_proj.weight"},
    {"model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight"},
    {"model.layers.{}.per_layer_input_gate.weight", "blk.{}.inp_gate.weight"},
    {"model.layers.{}.per_layer_projection.weight", "blk.{}.proj.weight"},
    {"model.layers.{}.post_per_layer_input_norm.weight", "blk.{}.post_norm.weight"},
    {"model.layers.{}.layer_scalar", "blk.{}.layer_output_scale.weight"},
    {"model.layers.{}.router.proj.weight", "blk.{}.ffn_gate_inp.weight"},
    {"model.layers.{}.router.scale", "blk.{}.ffn_gate_inp.scale"},
    {"model.layers.{}.router.per_expert_scale", "blk.{}.ffn_down_exps.scale"},
    {"model.layers.{}.pre_feedforward_layernorm_2.weight", "blk.{}.pre_ffw_norm_2.weight"},
    {"model.layers.{}.post_feedforward_layernorm_1.weight", "blk.{}.post_ffw_norm_1.weight"},
    {"model.layers.{}.post_feedforward_layernorm_2.weight", "blk.{}.post_ffw_norm_2.weight"},
    {"model.layers.{}.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps.weight"},
    {"model.layers.{}.experts.down_proj", "blk.{}.ffn_down_exps.weight"},
};
// four residual streams, a low-rank branch beside attention; the matrices of streams are stored in one tensor
inline constexpr Name kGemma3nNames[] = {
    {"model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight"},
    {"model.layers.{}.pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight"},
    {"model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"},
    {"model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
    {"model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"},
    {"model.embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
    {"model.per_layer_model_projection.weight", "per_layer_model_proj.weight"},
    {"model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight"},
    {"model.altup_projections.{}.weight", "altup_proj.weight"},
    {"model.altup_unembed_projections.{}.weight", "altup_unembd_proj.weight"},
    {"model.layers.{}.per_layer_input_gate.weight", "blk.{}.inp_gate.weight"},
    {"model.layers.{}.per_layer_projection.weight", "blk.{}.proj.weight"},
    {"model.layers.{}.post_per_layer_input_norm.weight", "blk.{}.post_norm.weight"},
    {"model.layers.{}.altup.correction_coefs.weight", "blk.{}.altup_correct_coef.weight"},
    {"model.layers.{}.altup.correct_output_scale", "blk.{}.altup_correct_scale.weight"},
    {"model.layers.{}.altup.prediction_coefs.weight", "blk.{}.altup_predict_coef.weight"},
    {"model.layers.{}.altup.modality_router.weight", "blk.{}.altup_router.weight"},
    {"model.layers.{}.altup.router_norm.weight", "blk.{}.altup_router_norm.weight"},
    {"model.layers.{}.laurel.linear_left.weight", "blk.{}.laurel_l.weight"},
    {"model.layers.{}.laurel.linear_right.weight", "blk.{}.laurel_r.weight"},
    {"model.layers.{}.laurel.post_laurel_norm.weight", "blk.{}.laurel_post_norm.weight"},
};
// matrices that stay in 32 bits
inline constexpr std::string_view kKeptNames[] = {
    "blk.{}.ffn_gate_inp.weight", "blk.{}.altup_correct_coef.weight", "blk.{}.altup_predict_coef.weight",
    "blk.{}.altup_router.weight"};
// parts of names of tensors that text does not need
inline constexpr std::string_view kOtherSenses[] = {"vision_tower.", "multi_modal_projector.", "audio_tower.",
                                                    "embed_vision.", "embed_audio."};

struct Architecture {
  std::string_view config_name;  // architectures[0] of config.json
  std::string_view name;         // general.architecture
  std::span<const Name> norms;
  float norm_offset;  // added to norms
  bool interleaves;   // rows of q and k: pairs (2i, 2i + 1) rotate
  bool tied;          // the head is the embedding: an lm_head is a copy of it
  Default head_dim, n_heads, n_kv_heads, context, rms_eps, rope_theta;
};
inline constexpr Architecture kArchitectures[] = {
    {"GemmaForCausalLM", "gemma", kPlainNorms, 1, false, true, 256, {}, {}, 8192, 1e-6, {}},
    {"Gemma2ForCausalLM", "gemma2", kFourNorms, 1, false, true, 256, {}, {}, 8192, 1e-6, {}},
    {"Gemma3ForCausalLM", "gemma3", kFourNorms, 1, false, true, 256, 8, 4, 131072, 1e-6, 1e6},
    {"Gemma3ForConditionalGeneration", "gemma3", kFourNorms, 1, false, true, 256, 8, 4, 131072, 1e-6, 1e6},
    {"Gemma3nForCausalLM", "gemma3n", kGemma3nNames, 0, false, true, 256, 8, 2, 32768, 1e-6, 1e6},
    {"Gemma3nForConditionalGeneration", "gemma3n", kGemma3nNames, 0, false, true, 256, 8, 2, 32768, 1e-6,
     1e6},
    {"Gemma4ForCausalLM", "gemma4", kGemma4Names, 0, false, true, 256, {}, {}, 131072, 1e-6, {}},
    {"Gemma4ForConditionalGeneration", "gemma4", kGemma4Names, 0, false, true, 256, {}, {}, 131072, 1e-6, {}},
    {"Gemma4UnifiedForConditionalGeneration",
     "gemma4",
     kGemma4Names,
     0,
     false,
     true,
     256,
     {},
     {},
     131072,
     1e-6,
     {}},
    {"LlamaForCausalLM", "llama", kPlainNorms, 0, true, false, {}, {}, {}, {}, {}, 1e4},
    {"MistralForCausalLM", "llama", kPlainNorms, 0, true, false, {}, {}, {}, {}, {}, 1e4},
};

}  // namespace gemma::convert
