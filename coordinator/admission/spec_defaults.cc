#include "coordinator/admission/spec_defaults.h"

namespace wavefield::coordinator {

using wavefield::v1::JobSpec;
using wavefield::v1::ModelSpec;

TrainingConfig TrainingConfigOf(const JobSpec& spec, int64_t world_size) {
  TrainingConfig config;
  const auto& training = spec.training();
  if (training.has_sequence_length()) config.sequence_length = training.sequence_length();
  if (training.has_batch_size()) config.batch_size = training.batch_size();
  if (training.has_micro_batch_size()) config.micro_batch_size = training.micro_batch_size();
  if (training.has_max_steps()) config.max_steps = training.max_steps();
  if (training.has_max_minutes()) config.max_minutes = training.max_minutes();
  if (training.has_seed()) config.seed = training.seed();
  config.precision = spec.resources().device() == "cuda" ? "bf16" : "fp32";
  if (training.has_precision()) config.precision = training.precision();
  if (training.has_propagation()) config.propagation = training.propagation();
  if (training.has_recompute()) config.recompute = training.recompute();
  if (training.has_sequence_chunk()) config.sequence_chunk = training.sequence_chunk();
  if (training.has_dropout()) config.dropout = training.dropout();
  if (training.has_label_smoothing()) config.label_smoothing = training.label_smoothing();
  if (training.has_z_loss()) config.z_loss = training.z_loss();
  if (training.has_ema_decay()) config.ema_decay = training.ema_decay();
  const auto& schedule = training.schedule();
  if (schedule.has_kind()) config.schedule = schedule.kind();
  if (schedule.has_learning_rate()) config.learning_rate = schedule.learning_rate();
  if (schedule.has_warmup_steps()) config.warmup_steps = schedule.warmup_steps();
  if (schedule.has_final_ratio()) config.final_ratio = schedule.final_ratio();
  if (schedule.has_decay_ratio()) config.decay_ratio = schedule.decay_ratio();
  const auto& optimizer = training.optimizer();
  if (optimizer.has_kind()) config.optimizer = optimizer.kind();
  if (optimizer.has_beta1()) config.beta1 = optimizer.beta1();
  if (optimizer.has_beta2()) config.beta2 = optimizer.beta2();
  if (optimizer.has_epsilon()) config.epsilon = optimizer.epsilon();
  if (optimizer.has_weight_decay()) config.weight_decay = optimizer.weight_decay();
  if (optimizer.has_clip_grad_norm()) config.clip_grad_norm = optimizer.clip_grad_norm();
  if (optimizer.has_muon_learning_rate()) {
    config.muon_learning_rate = optimizer.muon_learning_rate();
  }
  if (optimizer.has_mixer_lr_multiplier()) {
    config.mixer_lr_multiplier = optimizer.mixer_lr_multiplier();
  }
  if (optimizer.has_embedding_lr_multiplier()) {
    config.embedding_lr_multiplier = optimizer.embedding_lr_multiplier();
  }
  const auto& checkpoint = spec.checkpoint();
  if (checkpoint.has_every_steps()) config.checkpoint_every_steps = checkpoint.every_steps();
  if (checkpoint.has_every_minutes()) config.checkpoint_every_minutes = checkpoint.every_minutes();
  if (checkpoint.has_keep_last()) config.keep_last = checkpoint.keep_last();
  const auto& evaluation = spec.evaluation();
  if (evaluation.has_every_steps()) config.evaluate_every_steps = evaluation.every_steps();
  if (evaluation.has_max_tokens()) config.evaluate_max_tokens = evaluation.max_tokens();
  // A negative number of steps was given, not left out: it is to be refused.
  const bool given = schedule.has_warmup_steps();
  FillDefaults(config, world_size);
  if (given) config.warmup_steps = schedule.warmup_steps();
  return config;
}

void SetTraining(const TrainingConfig& config, JobSpec& spec) {
  auto& training = *spec.mutable_training();
  training.set_sequence_length(static_cast<int32_t>(config.sequence_length));
  training.set_batch_size(static_cast<int32_t>(config.batch_size));
  training.set_micro_batch_size(static_cast<int32_t>(config.micro_batch_size));
  training.set_max_steps(config.max_steps);
  training.set_max_minutes(config.max_minutes);
  training.set_seed(config.seed);
  training.set_precision(config.precision);
  training.set_propagation(config.propagation);
  training.set_recompute(config.recompute);
  training.set_sequence_chunk(static_cast<int32_t>(config.sequence_chunk));
  training.set_dropout(config.dropout);
  training.set_label_smoothing(config.label_smoothing);
  training.set_z_loss(config.z_loss);
  training.set_ema_decay(config.ema_decay);
  auto& schedule = *training.mutable_schedule();
  schedule.set_kind(config.schedule);
  schedule.set_learning_rate(config.learning_rate);
  schedule.set_warmup_steps(config.warmup_steps);
  schedule.set_final_ratio(config.final_ratio);
  schedule.set_decay_ratio(config.decay_ratio);
  auto& optimizer = *training.mutable_optimizer();
  optimizer.set_kind(config.optimizer);
  optimizer.set_beta1(config.beta1);
  optimizer.set_beta2(config.beta2);
  optimizer.set_epsilon(config.epsilon);
  optimizer.set_weight_decay(config.weight_decay);
  optimizer.set_clip_grad_norm(config.clip_grad_norm);
  optimizer.set_muon_learning_rate(config.muon_learning_rate);
  optimizer.set_mixer_lr_multiplier(config.mixer_lr_multiplier);
  optimizer.set_embedding_lr_multiplier(config.embedding_lr_multiplier);
  auto& checkpoint = *spec.mutable_checkpoint();
  checkpoint.set_every_steps(config.checkpoint_every_steps);
  checkpoint.set_every_minutes(config.checkpoint_every_minutes);
  checkpoint.set_keep_last(static_cast<int32_t>(config.keep_last));
  auto& evaluation = *spec.mutable_evaluation();
  evaluation.set_every_steps(config.evaluate_every_steps);
  evaluation.set_max_tokens(config.evaluate_max_tokens);
}

ModelConfig ModelConfigOf(const ModelSpec& model, const ModelConfig& base) {
  ModelConfig config = base;
  if (model.has_form()) config.form = model.form();
  if (model.has_d_model()) config.d_model = model.d_model();
  if (model.has_n_layers()) config.n_layers = model.n_layers();
  if (model.has_n_heads()) config.n_heads = model.n_heads();
  if (model.has_d_ff()) config.d_ff = model.d_ff();
  if (model.has_vocab_size()) config.vocab_size = model.vocab_size();
  if (model.has_conv_width()) config.conv_width = model.conv_width();
  if (model.has_damping()) config.damping = model.damping();
  if (model.has_deposit()) config.deposit = model.deposit();
  if (!model.attention_layers().empty()) {
    config.attention_layers.assign(model.attention_layers().begin(),
                                   model.attention_layers().end());
  }
  return config;
}

void SetModel(const ModelConfig& config, ModelSpec& model) {
  model.set_form(config.form);
  model.set_d_model(static_cast<int32_t>(config.d_model));
  model.set_n_layers(static_cast<int32_t>(config.n_layers));
  model.set_n_heads(static_cast<int32_t>(config.n_heads));
  model.set_d_ff(static_cast<int32_t>(config.d_ff));
  model.set_vocab_size(static_cast<int32_t>(config.vocab_size));
  model.set_conv_width(static_cast<int32_t>(config.conv_width));
  model.set_damping(config.damping);
  model.set_deposit(config.deposit);
  model.clear_attention_layers();
  for (const int64_t layer : config.attention_layers) {
    model.add_attention_layers(static_cast<int32_t>(layer));
  }
}

}  // namespace wavefield::coordinator
