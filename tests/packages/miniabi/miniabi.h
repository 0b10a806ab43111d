#pragma once
#define MINIABI_NUMBER 7
