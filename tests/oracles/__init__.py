"""What the tests of backnorm are judged against. Nothing here ever imports backnorm.

exact
    Small arrays: Fractions and 60-digit numbers; every derivative by dual numbers, none by formula.
extended
    Arrays up to about 1e5 values: twice long double; proved against `exact`.
small_cases
    The table of small arrays that the tests of the reference run through.
tolerance
    The one assertion for numbers, and the numbers it uses.
"""
