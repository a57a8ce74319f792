// A base class without a virtual destructor: delete frees the object, and what its derived part owns is lost.
#include <iostream>
#include <string>
#include <vector>

struct Shape {
    virtual double area() const = 0;
    // virtual ~Shape() = default;
};

struct Square : Shape {
    Square(std::string name, double side) : name(std::move(name)), side(side) {}
    double area() const override { return side * side; }

    std::string name;
    double side;
};

int main()
{
    std::vector<Shape *> shapes = {
        new Square("a square with a name too long to be kept inside the string object", 2),
        new Square("short name", 3),
    };
    for (Shape *shape : shapes) {
        std::cout << shape->area() << '\n';
        delete shape;
    }
}
