// new with free, new[] with delete, malloc with delete: the block goes, but by the wrong door.
// SKIP optimised: a compiler may drop new and delete together
#include <cstdio>
#include <cstdlib>
#include <cstring>

__attribute__((noinline)) static int new_with_free()
{
    int *number = new int(41);
    int value = *number;
    std::free(number); // EXPECT mismatched-free
    return value;
}

__attribute__((noinline)) static char array_with_scalar_delete()
{
    char *text = new char[32];
    std::strcpy(text, "an array");
    char first = text[0];
    delete text; // EXPECT mismatched-free
    return first;
}

__attribute__((noinline)) static char malloc_with_delete()
{
    char *text = static_cast<char *>(std::malloc(16));
    std::strcpy(text, "from malloc");
    char last = text[10];
    delete[] text; // EXPECT mismatched-free
    return last;
}

int main()
{
    int number = new_with_free();
    char a = array_with_scalar_delete();
    char c = malloc_with_delete();
    std::printf("%d %c %c\n", number, a, c);
    return 0;
}
