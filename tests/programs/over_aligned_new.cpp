// FLAGS -std=c++17
// Over-aligned classes go through the aligned operator new.
#include <cstdint>
#include <cstdio>

struct alignas(64) Line {
    float values[16];
    explicit Line(float start)
    {
        for (int i = 0; i < 16; i++)
            values[i] = start + i;
    }
};

__attribute__((noinline)) static float forget(float start)
{
    Line *line = new Line(start); // EXPECT leak definitely-lost bytes=64 blocks=1
    return line->values[15] + (reinterpret_cast<uintptr_t>(line) % 64 == 0 ? 0 : 1000);
}

__attribute__((noinline)) static float release(float start)
{
    Line *line = new Line(start);
    float last = line->values[15];
    delete line;
    return last;
}

int main()
{
    float a = forget(1), b = release(2);
    std::printf("%.1f %.1f\n", a, b);
    return 0;
}
