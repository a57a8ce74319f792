// Only a pointer to the second base is kept: it points inside the block, at a virtual table.
#include <cstdio>

struct Drawable {
    virtual ~Drawable() {}
    virtual int draw() const { return 1; }
    int colour = 3;
};

struct Clickable {
    virtual ~Clickable() {}
    virtual int click() = 0;
    int clicks = 0;
};

struct Button : Drawable, Clickable {
    int click() override { return ++clicks; }
    char label[16] = "ok";
};

static Clickable *target;
static Drawable *shown;

__attribute__((noinline)) static void build()
{
    target = new Button; // EXPECT leak still-reachable bytes=48 blocks=1
    shown = new Button; // EXPECT leak still-reachable bytes=48 blocks=1
}

__attribute__((noinline)) static int temporary()
{
    Clickable *c = new Button;
    int clicks = c->click();
    delete c;
    return clicks;
}

int main()
{
    build();
    target->click();
    int clicks = target->click() + temporary();
    std::printf("%d %d\n", clicks, shown->draw());
    return 0;
}
