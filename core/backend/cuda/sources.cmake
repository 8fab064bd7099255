# What the CUDA backend consists of: compiled with nvcc here, and for the host in tests/cuda.
set(WAVEFIELD_CUDA_KERNELS convert.cu elementwise.cu norm.cu embedding.cu cross_entropy.cu optimizer.cu
    short_conv.cu damping.cu field_outer.cu field_outer_inputs.cu field_outer_backward.cu
    field_readout.cu field_elementwise.cu
    field_elementwise_chain.cu field_elementwise_recurrence.cu field_elementwise_direct.cu
    field_fft.cu rotary.cu attention_forward.cu attention_backward.cu attention_decode.cu classic_mixing.cu interference.cu
    bias.cu column_sums.cu columns.cu cumulative_mean.cu dropout.cu layer_norm.cu row_sort.cu swiglu.cu)
set(WAVEFIELD_CUDA_HOST_SOURCES cuda_backend.cc errors.cc fft_plans.cc gemm.cc matmul.cc)
