__global__ void chain(const float *x, float *y, unsigned n) {
    unsigned id = blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned i = id; i < n; i += gridDim.x * blockDim.x) {
        float now = x[i];
        now = now * 0.5f + 0.25f;
        now = expf(-now);
        y[i] = now;
    }
}
