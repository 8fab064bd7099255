#pragma once

#include <cstdint>

#include "core/model/model.h"

namespace wavefield::testing {

// What holds for a model of any form: GoogleTest expectations on fresh random weights and tokens.

// Gradients of the reference backend against finite differences, batch of 2.
void ExpectFiniteDifferences(const ModelConfig& config, int64_t tokens);
// Loss and gradients of the CPU backend, computed as `options` say, against the reference.
void ExpectCpuAgreesWithReference(const ModelConfig& config, const ExecutionOptions& options);
// No bit of a logit depends on a later token (within rounding by the FFT); later logits do.
void ExpectCausality(const ModelConfig& config, const ExecutionOptions& options);
// A sequence fed in pieces and token by token ends with the logits of the whole.
void ExpectContinuation(const ModelConfig& config);
// Windows computed in pieces of `piece` tokens have the loss and gradients of whole ones.
void ExpectPieces(const ModelConfig& config, int64_t piece);
// Recomputed activations are the same bits and take less memory.
void ExpectRecomputation(const ModelConfig& config);
// A backward pass tells of every gradient once, when it will not change any more: branch by branch.
void ExpectFinalGradientsAreTold(const ModelConfig& config);
// A second pass of the same shape allocates nothing.
void ExpectNoFurtherAllocation(const ModelConfig& config);

// All of these.
void ExpectFormLaws(const ModelConfig& config);

}  // namespace wavefield::testing
