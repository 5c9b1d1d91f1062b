"""How far a decoded picture is from its original: error, structure, and what people see."""
