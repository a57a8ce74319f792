// delete through a base without a virtual destructor: the member of the derived class stays.
#include <cstdio>
#include <memory>
#include <vector>

struct Shape {
    virtual double area() const = 0;
};

struct Polygon : Shape {
    explicit Polygon(int n) : corners(new double[2 * n]()), n(n) // EXPECT leak definitely-lost bytes=96 blocks=2
    {
        for (int i = 0; i < n; i++)
            corners[2 * i] = i;
    }
    ~Polygon() { delete[] corners; }
    double area() const override { return corners[2 * (n - 1)] * n; }
    double *corners;
    int n;
};

struct Circle : Shape {
    explicit Circle(double r) : r(r) {}
    double area() const override { return 3 * r * r; }
    double r;
};

__attribute__((noinline)) static double total()
{
    std::vector<Shape *> shapes;
    shapes.push_back(new Polygon(2));
    shapes.push_back(new Circle(2));
    shapes.push_back(new Polygon(4));
    double sum = 0;
    for (Shape *s : shapes)
        sum += s->area();
    for (Shape *s : shapes)
        operator delete(s);
    return sum;
}

int main()
{
    std::printf("%.1f\n", total());
    return 0;
}
