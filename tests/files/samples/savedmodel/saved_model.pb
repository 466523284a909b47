Ø÷
¢ò
^
AssignVariableOp
resource
value"dtype"